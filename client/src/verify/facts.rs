//! Gathers what the checks share: who sent each message that was shown, which numbers are contested, which messages are
//! lost.

use std::collections::HashSet;
use std::ops::Range;

use crate::history::{History, NONE, Op, Seen, own_position};

/// The tables beside a history that the checks share: eight bytes a request.
pub(super) struct Facts<'a> {
    pub(super) history: &'a History,
    /// The request whose text each message of [`History::seen`] has, or [`NONE`].
    pub(super) author: Vec<u32>,
    /// The place in [`History::seen`] of the message of each request of [`History::ops`], or [`NONE`]. Of several
    /// places it is the acknowledged one, else the first.
    pub(super) place: Vec<u32>,
    /// The gaps that replies skip: the numbers on both sides, and the request.
    pub(super) gaps: Vec<(u64, u64, u32)>,
    /// The answered messages that replies ought to show and do not, as indices in [`History::seen`].
    pub(super) lost: HashSet<u32>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            author: history.seen.iter().map(|seen| seen.author).collect(),
            place: vec![NONE; history.ops.len()],
            gaps: skipped(history),
            lost: HashSet::new(),
        };
        facts.join();
        facts.find_lost();
        facts
    }

    pub(super) fn op(&self, op: u32) -> &'a Op {
        &self.history.ops[op as usize]
    }

    pub(super) fn seen(&self, seen: u32) -> &'a Seen {
        &self.history.seen[seen as usize]
    }

    /// Returns the request whose text a shown message has.
    pub(super) fn author_of(&self, seen: u32) -> Option<u32> {
        Some(self.author[seen as usize]).filter(|author| *author != NONE)
    }

    /// Groups the shown messages by number: more than one in a group claim the same number.
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

    /// Returns whether nothing else claims this message's number.
    pub(super) fn is_lone(&self, seen: u32) -> bool {
        let (index, all) = (seen as usize, &self.history.seen);
        let same = |other: Option<&Seen>| {
            other.is_some_and(|other| other.shown.seq == all[index].shown.seq)
        };
        !same(index.checked_sub(1).and_then(|before| all.get(before))) && !same(all.get(index + 1))
    }

    /// Returns the one place of a request's message, if nothing is wrong with it.
    pub(super) fn sound_place(&self, op: u32) -> Option<u32> {
        let place = self.place[op as usize];
        (place != NONE && self.is_sound(place)).then_some(place)
    }

    /// Returns whether a message has its number alone, and is not lost.
    pub(super) fn is_sound(&self, seen: u32) -> bool {
        self.is_lone(seen) && !self.lost.contains(&seen)
    }

    /// Finds author and place of each message: nearly all authors were told it in their replies; the rest by text.
    fn join(&mut self) {
        let history = self.history;
        let mut rest: Vec<(u64, u32)> = Vec::new();
        for (seen, author) in (0..).zip(&self.author) {
            if *author == NONE {
                rest.push((self.seen(seen).shown.text, seen));
            } else {
                let place = &mut self.place[*author as usize];
                *place = (*place).min(seen);
            }
        }
        rest.sort_unstable();
        for op in indices(&history.ops) {
            let text = history.ops[op as usize].text;
            let from = rest.partition_point(|(other, _)| *other < text);
            for (_, seen) in rest[from..].iter().take_while(|(other, _)| *other == text) {
                self.author[*seen as usize] = op;
                if self.place[op as usize] == NONE {
                    self.place[op as usize] = *seen;
                }
            }
        }
    }

    /// Finds the lost messages. An answered message is lost if only its own reply shows it, while others skip it, or
    /// show another message at its number that nobody knew before this one was sent. A number that was taken already is
    /// another fault.
    fn find_lost(&mut self) {
        let mut lost = HashSet::new();
        for group in self.by_number() {
            let rivals = self.rivals(group.clone());
            for seen in group.filter(|seen| self.is_unconfirmed(*seen)) {
                let start_ns = self.op(self.author[seen as usize]).start_ns;
                let shown = self.seen(seen).shown;
                let replaced = rivals
                    .iter()
                    .flatten()
                    .any(|(end_ns, text)| *end_ns >= start_ns && *text != shown.text);
                if replaced || self.gap_over(shown.seq).is_some() {
                    lost.insert(seen);
                }
            }
        }
        self.lost = lost;
    }

    /// Returns, of the messages at one number that several replies show, the one that was known last, and the last one
    /// with another text: when each was known, and its text.
    fn rivals(&self, group: Range<u32>) -> [Option<(u64, u64)>; 2] {
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

    /// Returns whether a message was acknowledged, and only its own reply shows it.
    fn is_unconfirmed(&self, seen: u32) -> bool {
        let Seen {
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

    /// Returns the first gap in which a reply skips this number. Gaps are few, or short: a look back finds it.
    pub(super) fn gap_over(&self, seq: u64) -> Option<(u64, u64, u32)> {
        let end = self.gaps.partition_point(|(before, _, _)| *before < seq);
        let mut near = self.gaps[end.saturating_sub(MAX_GAPS_SEARCHED)..end].iter();
        near.find(|(_, after, _)| *after > seq).copied()
    }
}

/// Returns the gaps in the windows of irregular replies, in order.
fn skipped(history: &History) -> Vec<(u64, u64, u32)> {
    let mut gaps = Vec::new();
    for irregular in &history.irregular {
        // What stands after the own message is another fault.
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

/// The number of gaps to look back at: those that begin at the same number are shown by ten replies or so, on each of a
/// few replicas.
const MAX_GAPS_SEARCHED: usize = 1000;

pub(super) fn indices<T>(items: &[T]) -> Range<u32> {
    0..to_u32(items.len())
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("a history holds fewer than 2^32 requests")
}
