//! Caches recent messages with their bytes, so that a message that is shown again is compared and not parsed.

use std::ops::Range;

use super::ShownMessage;

/// The number of messages in the cache: more than are in flight at once, and few enough for the processor's cache.
const MAX_MESSAGES: usize = 4096;
/// The most bytes of cached messages: enough for hundreds of the longest ones.
const MAX_BYTES: usize = 4 << 20;

/// A cache of recent messages and their bytes.
#[derive(Debug)]
pub(super) struct MessageCache {
    /// The messages by [`slot`].
    messages: Vec<CachedMessage>,
    /// The bytes of the messages, with a comma after each. Messages that one reply showed first are adjacent, as in the reply.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct CachedMessage {
    /// The message; its number is 0 if the slot is empty.
    pub(super) shown: ShownMessage,
    /// Its index in [`super::History::seen`].
    pub(super) seen: u32,
    /// The range of its bytes, the comma included.
    range: Range<usize>,
}

impl Default for MessageCache {
    fn default() -> Self {
        Self {
            messages: vec![CachedMessage::default(); MAX_MESSAGES],
            bytes: Vec::with_capacity(MAX_BYTES),
        }
    }
}

impl MessageCache {
    /// Returns the message with this number that was inserted last, if it is still in the cache.
    pub(super) fn get(&self, seq: u64) -> Option<&CachedMessage> {
        let cached = &self.messages[slot(seq)];
        (cached.shown.seq == seq).then_some(cached)
    }

    /// Inserts a message, in place of the older one in its slot. Clears the cache first if the bytes do not fit.
    pub(super) fn insert(&mut self, shown: ShownMessage, seen: u32, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() >= MAX_BYTES {
            self.bytes.clear();
            self.messages.fill(CachedMessage::default());
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.push(b',');
        self.messages[slot(shown.seq)] = CachedMessage {
            shown,
            seen,
            range: start..self.bytes.len(),
        };
    }

    /// Compares the bytes with adjacent cached messages, from the number `seq` on, up to `most`. If the bytes begin with all of
    /// these, returns how many they are, and their length without the last comma.
    pub(super) fn match_bytes(
        &self,
        bytes: &[u8],
        seq: u64,
        most: usize,
    ) -> Option<(usize, usize)> {
        let start = self.get(seq)?.range.start;
        let (mut end, mut count) = (start, 0);
        while let Some(cached) = self.get(seq + count as u64)
            && cached.range.start == end
            && count < most
        {
            end = cached.range.end;
            count += 1;
        }
        let known = &self.bytes[start..end.saturating_sub(1).max(start)];
        (count > 0 && bytes.starts_with(known)).then_some((count, known.len()))
    }
}

fn slot(seq: u64) -> usize {
    usize::try_from(seq % MAX_MESSAGES as u64).expect("less than MAX_MESSAGES")
}
