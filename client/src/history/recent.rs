//! Keeps the messages that were shown lately, with their bytes: what is shown again is compared, not parsed.

use std::ops::Range;

use super::Shown;

/// The number of messages kept: more than are under way at once, and few enough to stay in the cache.
const MAX_MESSAGES: usize = 4096;
/// The bytes kept of them, enough for hundreds of the longest messages.
const MAX_BYTES: usize = 4 << 20;

/// Recent messages, and where their bytes are.
#[derive(Debug)]
pub(super) struct RecentMessages {
    /// The messages by [`slot`].
    messages: Vec<Recent>,
    /// The bytes of the messages, with a comma after each: what was shown together stands together, as in a reply.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    /// The message; its number is 0 if there is none.
    pub(super) shown: Shown,
    /// Its index in [`super::History::seen`].
    pub(super) seen: u32,
    /// The range of its bytes, the comma included.
    range: Range<usize>,
}

impl Default for RecentMessages {
    fn default() -> Self {
        Self {
            messages: vec![Recent::default(); MAX_MESSAGES],
            bytes: Vec::with_capacity(MAX_BYTES),
        }
    }
}

impl RecentMessages {
    /// Returns the message that was last shown with this number, if it is not too long ago.
    pub(super) fn get(&self, seq: u64) -> Option<&Recent> {
        let recent = &self.messages[slot(seq)];
        (recent.shown.seq == seq).then_some(recent)
    }

    /// Keeps a message, over one that is older.
    pub(super) fn keep(&mut self, shown: Shown, seen: u32, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() >= MAX_BYTES {
            self.bytes.clear();
            self.messages.fill(Recent::default());
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.push(b',');
        self.messages[slot(shown.seq)] = Recent {
            shown,
            seen,
            range: start..self.bytes.len(),
        };
    }

    /// Compares the bytes with messages that were shown before, from the number `seq` on. Returns how many of these
    /// they begin with, up to `most`, and how long these are without the last comma.
    pub(super) fn compare(&self, bytes: &[u8], seq: u64, most: usize) -> Option<(usize, usize)> {
        let start = self.get(seq)?.range.start;
        let (mut end, mut count) = (start, 0);
        while let Some(recent) = self.get(seq + count as u64)
            && recent.range.start == end
            && count < most
        {
            end = recent.range.end;
            count += 1;
        }
        let known = &self.bytes[start..end.saturating_sub(1).max(start)];
        (count > 0 && bytes.starts_with(known)).then_some((count, known.len()))
    }
}

fn slot(seq: u64) -> usize {
    usize::try_from(seq % MAX_MESSAGES as u64).expect("less than MAX_MESSAGES")
}
