//! Z2 and R4: how much was judged, so that "no violation" means something.

use super::facts::{Facts, NONE, indices};
use crate::history::Outcome;

/// What the verdict rests on.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Coverage {
    /// Replies that were read.
    pub(crate) replies: u64,
    /// Different messages that they show.
    pub(crate) messages: u64,
    /// Pairs of which one was answered before the other was sent, so that their order is prescribed.
    pub(crate) ordered_pairs: u64,
    /// Of these, the pairs answered by different replicas.
    pub(crate) across_replicas: u64,
    /// Replies that show one of this run's messages, on average.
    pub(crate) shown_mean: f64,
    /// This run's messages that only their own reply shows: nothing confirms them.
    pub(crate) shown_once: u64,
    /// Requests of unknown outcome whose message appeared.
    pub(crate) unknown_stored: u64,
    /// Those whose message did not.
    pub(crate) unknown_not_seen: u64,
}

pub(super) fn measure(facts: &Facts<'_>) -> Coverage {
    let mut coverage = Coverage {
        messages: facts.by_number().count() as u64,
        ..Coverage::default()
    };
    let (mut own, mut shown) = (0_u64, 0_u64);
    for (seen, author) in facts.history.seen.iter().zip(&facts.author) {
        if *author != NONE {
            own += 1;
            shown += u64::from(seen.replies);
            coverage.shown_once += u64::from(seen.replies == 1);
        }
    }
    coverage.shown_mean = ratio(shown, own);
    for op in indices(&facts.history.ops) {
        match facts.op(op).outcome {
            Outcome::Ok => coverage.replies += 1,
            Outcome::Unknown(_) if facts.place[op as usize] == NONE => {
                coverage.unknown_not_seen += 1;
            }
            Outcome::Unknown(_) => coverage.unknown_stored += 1,
            Outcome::Failed(_) => {}
        }
    }
    coverage.ordered_pairs = ordered_pairs(facts, None);
    let replicas = u16::try_from(facts.history.setting.replicas.len()).unwrap_or(u16::MAX);
    let within: u64 = (0..replicas)
        .map(|replica| ordered_pairs(facts, Some(replica)))
        .sum();
    coverage.across_replicas = coverage.ordered_pairs.saturating_sub(within);
    coverage
}

/// Pairs of answered requests that do not overlap in time: for each start, the ends before it.
fn ordered_pairs(facts: &Facts<'_>, replica: Option<u16>) -> u64 {
    let ops = || {
        facts
            .by_seq
            .iter()
            .map(|op| facts.op(*op))
            .filter(|op| replica.is_none_or(|replica| op.replica == replica))
    };
    let mut starts: Vec<u64> = ops().map(|op| op.start_ns).collect();
    let mut ends: Vec<u64> = ops().map(|op| op.end_ns).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut pairs, mut before) = (0, 0);
    for start in starts {
        while ends.get(before).is_some_and(|end| *end < start) {
            before += 1;
        }
        pairs += before as u64;
    }
    pairs
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^52"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
