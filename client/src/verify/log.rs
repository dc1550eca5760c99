//! Checks the log that all replies together show (G1 to G6).

use std::ops::Range;

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::{NONE, Outcome, SeenMessage};

pub(super) fn check(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    for group in facts.by_number() {
        if group.len() > 1 {
            check_contested(facts, group, violations);
        }
    }
    check_lost(facts, violations);
    check_authors(facts, violations);
}

/// Checks a number that several messages claim (G1 and G2).
fn check_contested(facts: &Facts<'_>, group: Range<u32>, violations: &mut Violations<'_>) {
    let mut claims: Vec<u32> = group.filter(|seen| !facts.lost.contains(seen)).collect();
    claims.sort_unstable_by_key(|seen| facts.seen(*seen).shown.text);
    let acknowledged = |seen: u32| {
        let author = facts.author_of(seen).map(|op| facts.op(op));
        author.is_some_and(|op| op.is_ok() && op.seq == facts.seen(seen).shown.seq)
    };
    let texts: Vec<&[u32]> = claims
        .chunk_by(|one, other| facts.seen(*one).shown.text == facts.seen(*other).shown.text)
        .collect();
    let owners: Vec<u32> = texts
        .iter()
        .map(|text| text[0])
        .filter(|seen| acknowledged(*seen))
        .collect();
    if let [one, other, ..] = owners[..] {
        let (one, other) = (facts.author[one as usize], facts.author[other as usize]);
        violations.add(Check::SeqUnique, owners.len() as u64, &[one, other], || {
            let seq = facts.op(one).seq;
            format!("Both were answered with seq {seq}: a contradiction.")
        });
    }
    let varied = texts.iter().any(|text| text.len() > 1);
    if varied || (texts.len() > 1 && owners.len() < texts.len()) {
        // The message that the fewest replies show, and the one that the most show.
        claims.sort_by_key(|seen| facts.seen(*seen).replies);
        if let [rare, .., common] = claims[..] {
            let (one, other) = (facts.seen(common), facts.seen(rare));
            let ops = [one.witness, other.witness];
            violations.add(Check::OneContent, claims.len() as u64, &ops, || {
                format!(
                    "A's reply shows {}  ({} replies do)\nB's reply shows {}  ({} replies do)\nOne seq, two contents: a contradiction.",
                    explain::message(facts, &one.shown),
                    one.replies,
                    explain::message(facts, &other.shown),
                    other.replies,
                )
            });
        }
    }
}

/// Reports lost messages (G6).
fn check_lost(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    let mut lost: Vec<u32> = facts.lost.iter().copied().collect();
    lost.sort_unstable();
    for seen in lost {
        let (op, shown) = (facts.author[seen as usize], facts.seen(seen).shown);
        let seq = shown.seq;
        let near =
            seen.saturating_sub(8)..seen.saturating_add(8).min(indices(&facts.history.seen).end);
        let replacement = near
            .map(|other| facts.seen(other))
            .filter(|other| other.shown.seq == seq && other.shown != shown)
            .max_by_key(|other| other.replies);
        let gap = facts.gap_around(seq);
        let witness = replacement
            .map(|other| other.witness)
            .or(gap.map(|(_, _, op)| op));
        let ops: Vec<u32> = [op].into_iter().chain(witness).collect();
        violations.add(Check::NothingLost, 0, &ops, || {
            let why = match (replacement, gap) {
                (Some(other), _) => {
                    format!("B's reply shows {}", explain::message(facts, &other.shown))
                }
                (None, Some((before, after, _))) => {
                    format!("after {before} B's reply shows {after}")
                }
                (None, None) => "other replies show another one there".to_owned(),
            };
            format!(
                "A was answered with seq {seq}; but {why}. A's message is in no other reply: it is lost."
            )
        });
    }
}

/// Checks who sent each shown message (G3, G4 and G5).
fn check_authors(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    // Messages before this run's first one are from before the run, or from others who wrote before it.
    let mut begun = false;
    for index in indices(&facts.history.seen).filter(|seen| facts.is_uncontested(*seen)) {
        let seen = facts.seen(index);
        let Some(op) = facts.author_of(index) else {
            if begun && !facts.history.settings.shared && !is_missing(facts, seen) {
                violations.add(Check::NothingInvented, 0, &[seen.witness], || {
                    let why = "and nobody else may write. (An earlier run's message that is stored late \
                               looks the same: wait until it is, or say --shared)";
                    explain_invented(facts, seen, why)
                });
            }
            continue;
        };
        begun = true;
        let request = facts.op(op);
        if let Outcome::Failed(reason) = request.outcome {
            violations.add(Check::FailedAbsent, 0, &[op, seen.witness], || {
                format!(
                    "A failed ({reason}), so that its message is not stored; but B's reply shows it at seq {}.",
                    seen.shown.seq
                )
            });
        } else if seen.shown.user != request.user && !request.is_ok() {
            violations.add(Check::NothingInvented, 0, &[seen.witness], || {
                explain_invented(facts, seen, "and its user never sent this text")
            });
        }
        let place = facts.place[op as usize];
        if place != NONE && place != index && facts.is_uncontested(place) {
            let (first, second) = (facts.seen(place).shown.seq, seen.shown.seq);
            let ops = [op, seen.witness];
            violations.add(Check::StoredOnce, second.abs_diff(first), &ops, || {
                let repeated = if request.attempts > 1 {
                    " It was repeated with the same Idempotency-Key."
                } else {
                    ""
                };
                format!(
                    "A's message was sent as one, and is shown at seq {first} and at seq {second}: stored twice.{repeated}"
                )
            });
        }
    }
}

/// Returns whether a message may come from this run although its request is not in the history, which was cut off.
fn is_missing(facts: &Facts<'_>, seen: &SeenMessage) -> bool {
    facts.history.is_truncated && !facts.history.foreign.contains_key(&seen.shown.text)
}

fn explain_invented(facts: &Facts<'_>, seen: &SeenMessage, why: &str) -> String {
    let message = explain::message(facts, &seen.shown);
    format!("A's reply shows {message}.\nNo request of this run sent that, {why}.")
}
