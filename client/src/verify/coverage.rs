//! Measures how much was judged, so that the reader knows how much "no violation" proves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, indices};
use crate::history::{NONE, Op, Outcome};
use crate::stats::to_float;

/// The evidence that the verdict rests on.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CoverageFigures")]
pub(crate) struct Coverage {
    pub(crate) replies: u64,
    pub(crate) messages: u64,
    /// How many pairs have a prescribed order, as one was answered before the other was sent.
    pub(crate) ordered_pairs: u64,
    /// How many of these pairs were answered by different replicas.
    pub(crate) ordered_pairs_across_replicas: u64,
    /// How many replies show one of this run's messages, on average.
    pub(crate) shown_mean: f64,
    /// How many messages only their own reply shows.
    pub(crate) shown_once: u64,
    /// How many requests of unknown outcome have a message that appeared.
    pub(crate) unknown_stored: u64,
    /// How many requests of unknown outcome have a message that did not appear.
    pub(crate) unknown_not_seen: u64,
    /// How many pages of messages were asked for at the end and judged; absent in version 1.
    #[serde(default)]
    pub(crate) pages: u64,
    /// The pages that were not judged: the URL of the replica, and the reason.
    #[serde(skip)]
    pub(crate) pages_not_judged: Vec<(String, String)>,
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
    coverage.shown_mean = to_float(shown) / to_float(own.max(1));
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
    for page in &facts.history.pages {
        match &page.messages {
            Ok(_) => coverage.pages += 1,
            Err(reason) => {
                let url = &facts.history.settings.replicas[usize::from(page.replica)];
                coverage
                    .pages_not_judged
                    .push((url.clone(), reason.clone()));
            }
        }
    }
    let (all, same_replica) = ordered_pairs(facts);
    coverage.ordered_pairs = all;
    coverage.ordered_pairs_across_replicas = all - same_replica;
    coverage
}

/// Counts the pairs of answered requests that do not overlap in time: for each start, the ends before it. Returns the number of
/// all such pairs, and of those within one replica.
fn ordered_pairs(facts: &Facts<'_>) -> (u64, u64) {
    let history = facts.history;
    let answered = || history.ops.iter().filter(|op| op.is_numbered());
    let mut ends = Vec::with_capacity(history.ops.len());
    let mut ends_by_replica = vec![Vec::new(); history.settings.replicas.len()];
    for op in answered() {
        ends.push(op.end_ns);
        ends_by_replica[usize::from(op.replica)].push(op.end_ns);
    }
    // A history of this client is sorted already; a history from elsewhere may not be.
    ends.sort_unstable();
    for ends in &mut ends_by_replica {
        ends.sort_unstable();
    }
    let before = |ends: &[u64], op: &Op| ends.partition_point(|end| *end < op.start_ns) as u64;
    answered().fold((0, 0), |(all, same_replica), op| {
        (
            all + before(&ends, op),
            same_replica + before(&ends_by_replica[usize::from(op.replica)], op),
        )
    })
}
