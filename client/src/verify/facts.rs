//! Indexes a history for the checks: who sent each message that was shown, which numbers are contested, which messages are
//! lost.

use std::collections::HashSet;
use std::ops::Range;

use crate::history::{History, NONE, Op, SeenMessage, own_position};

/// A history, and the indexes over it that the checks share: eight bytes per request.
pub(super) struct Facts<'a> {
    pub(super) history: &'a History,
    /// For each message of [`History::seen`], the request that sent its text, or [`NONE`].
    pub(super) author: Vec<u32>,
    /// For each request of [`History::ops`], the index of its message in [`History::seen`], or [`NONE`]. If the message was
    /// shown at several numbers, it is the acknowledged one, else the first.
    pub(super) place: Vec<u32>,
    /// The gaps in replies, sorted: the numbers before and after the gap, and the request.
    pub(super) gaps: Vec<(u64, u64, u32)>,
    /// The answered messages that later replies should show and do not, as indices in [`History::seen`].
    pub(super) lost: HashSet<u32>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            author: history.seen.iter().map(|seen| seen.author).collect(),
            place: vec![NONE; history.ops.len()],
            gaps: find_gaps(history),
            lost: HashSet::new(),
        };
        facts.match_requests();
        facts.find_lost();
        facts
    }

    pub(super) fn op(&self, op: u32) -> &'a Op {
        &self.history.ops[op as usize]
    }

    pub(super) fn seen(&self, seen: u32) -> &'a SeenMessage {
        &self.history.seen[seen as usize]
    }

    /// Returns the request that sent the text of a shown message.
    pub(super) fn author_of(&self, seen: u32) -> Option<u32> {
        Some(self.author[seen as usize]).filter(|author| *author != NONE)
    }

    /// Groups the shown messages by number, as ranges of [`History::seen`]. A number is contested if its group has more than one.
    pub(super) fn by_number(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut from = 0_usize;
        self.history
            .seen
            .chunk_by(|one, other| one.shown.seq == other.shown.seq)
            .map(move |group| {
                let range = from..from + group.len();
                from = range.end;
                to_u32(range.start)..to_u32(range.end)
            })
    }

    /// Returns whether no other message claims this message's number.
    pub(super) fn is_uncontested(&self, seen: u32) -> bool {
        let (index, all) = (seen as usize, &self.history.seen);
        let same = |other: Option<&SeenMessage>| {
            other.is_some_and(|other| other.shown.seq == all[index].shown.seq)
        };
        !same(index.checked_sub(1).and_then(|before| all.get(before))) && !same(all.get(index + 1))
    }

    /// Returns the index in [`History::seen`] of a request's message, if its number is uncontested and it is not lost.
    pub(super) fn reliable_place(&self, op: u32) -> Option<u32> {
        let place = self.place[op as usize];
        (place != NONE && self.is_reliable(place)).then_some(place)
    }

    /// Returns whether a message's number is uncontested, and the message is not lost.
    pub(super) fn is_reliable(&self, seen: u32) -> bool {
        self.is_uncontested(seen) && !self.lost.contains(&seen)
    }

    /// Finds the author of each message, and the message of each request. Nearly all authors saw their message in their own
    /// reply; the others are found by their text.
    fn match_requests(&mut self) {
        let history = self.history;
        let mut unmatched: Vec<(u64, u32)> = Vec::new();
        for (seen, author) in (0..).zip(&self.author) {
            if *author == NONE {
                unmatched.push((self.seen(seen).shown.text, seen));
            } else {
                let place = &mut self.place[*author as usize];
                *place = (*place).min(seen);
            }
        }
        unmatched.sort_unstable();
        for op in indices(&history.ops) {
            let text = history.ops[op as usize].text;
            let from = unmatched.partition_point(|(other, _)| *other < text);
            for (_, seen) in unmatched[from..]
                .iter()
                .take_while(|(other, _)| *other == text)
            {
                self.author[*seen as usize] = op;
                if self.place[op as usize] == NONE {
                    self.place[op as usize] = *seen;
                }
            }
        }
    }

    /// Finds the lost messages. An answered message is lost if only its own reply shows it, while others skip it, or show
    /// another message at its number which no reply had shown before this one was sent. If one had, the number was given
    /// twice, which is another fault.
    fn find_lost(&mut self) {
        let mut lost = HashSet::new();
        for group in self.by_number() {
            let latest_at_number = self.latest_at_number(group.clone());
            for seen in group.filter(|seen| self.is_unconfirmed(*seen)) {
                let start_ns = self.op(self.author[seen as usize]).start_ns;
                let shown = self.seen(seen).shown;
                let replaced = latest_at_number
                    .iter()
                    .flatten()
                    .any(|(end_ns, text)| *end_ns >= start_ns && *text != shown.text);
                if replaced || self.gap_around(shown.seq).is_some() {
                    lost.insert(seen);
                }
            }
        }
        self.lost = lost;
    }

    /// Among the messages at one number that several replies show, finds the one that was first shown last, and the last one
    /// with another text. Returns for each when it was first shown, in nanoseconds, and its text.
    fn latest_at_number(&self, group: Range<u32>) -> [Option<(u64, u64)>; 2] {
        if group.len() < 2 {
            return [None; 2];
        }
        let shared = || {
            group
                .clone()
                .map(|seen| self.seen(seen))
                .filter(|seen| seen.replies > 1)
                .map(|seen| (self.op(seen.witness).end_ns, seen.shown.text))
        };
        let last = shared().max();
        let other = shared().filter(|(_, text)| last.is_some_and(|(_, last)| *text != last));
        [last, other.max()]
    }

    /// Returns whether a message was acknowledged by its own reply, and no other reply shows it.
    fn is_unconfirmed(&self, seen: u32) -> bool {
        let SeenMessage {
            shown,
            replies,
            witness,
            ..
        } = self.seen(seen);
        let own = self.author_of(seen) == Some(*witness);
        own && *replies == 1
            && self.op(*witness).is_numbered()
            && self.op(*witness).seq == shown.seq
    }

    /// Returns the first gap in a reply that contains this number. A short search finds it, because gaps are few or short.
    pub(super) fn gap_around(&self, seq: u64) -> Option<(u64, u64, u32)> {
        let end = self.gaps.partition_point(|(before, _, _)| *before < seq);
        let mut candidates = self.gaps[end.saturating_sub(MAX_GAPS_SEARCHED)..end].iter();
        candidates.find(|(_, after, _)| *after > seq).copied()
    }
}

/// Returns the gaps in irregular replies, sorted.
fn find_gaps(history: &History) -> Vec<(u64, u64, u32)> {
    let mut gaps = Vec::new();
    for irregular in &history.irregular {
        // A message after the request's own one is another fault.
        let own = own_position(&irregular.window, history.ops[irregular.op as usize].text);
        let Some(own) = own else { continue };
        for pair in irregular.window[..=own].windows(2) {
            if pair[1].seq > pair[0].seq + 1 {
                gaps.push((pair[0].seq, pair[1].seq, irregular.op));
            }
        }
    }
    gaps.sort_unstable();
    gaps
}

/// The most gaps that are searched backwards: about ten replies on each of a few replicas show the gaps that begin at the same
/// number.
const MAX_GAPS_SEARCHED: usize = 1000;

pub(super) fn indices<T>(items: &[T]) -> Range<u32> {
    0..to_u32(items.len())
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("a history holds fewer than 2^32 requests")
}
