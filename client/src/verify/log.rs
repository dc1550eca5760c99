//! Checks what all replies together say about the log (G1 to G6).

use std::ops::Range;

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::{NONE, Outcome, Seen};

pub(super) fn check(facts: &Facts<'_>, violations: &mut Violations) {
    for group in facts.by_number() {
        if group.len() > 1 {
            contested(facts, group, violations);
        }
    }
    lost(facts, violations);
    authors(facts, violations);
}

/// Checks a number that several messages claim (G1 and G2).
fn contested(facts: &Facts<'_>, group: Range<u32>, violations: &mut Violations) {
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
        violations.add(Check::SeqUnique, owners.len() as u64, || {
            let seq = facts.op(one).seq;
            let explanation = format!(
                "{}\nBoth were answered with seq {seq}: a contradiction.",
                explain::pair(facts, one, other)
            );
            (vec![one, other], explanation)
        });
    }
    let varied = texts.iter().any(|text| text.len() > 1);
    if varied || (texts.len() > 1 && owners.len() < texts.len()) {
        // The message in doubt and its fullest rival.
        claims.sort_by_key(|seen| facts.seen(*seen).replies);
        if let [rare, .., common] = claims[..] {
            violations.add(Check::OneContent, claims.len() as u64, || {
                explain_two_contents(facts, common, rare)
            });
        }
    }
}

fn explain_two_contents(facts: &Facts<'_>, common: u32, rare: u32) -> (Vec<u32>, String) {
    let (one, other) = (facts.seen(common), facts.seen(rare));
    let explanation = format!(
        "{}\nA's reply shows {}  ({} replies do)\nB's reply shows {}  ({} replies do)\nOne seq, two contents: a contradiction.",
        explain::pair(facts, one.witness, other.witness),
        explain::message(facts, &one.shown),
        one.replies,
        explain::message(facts, &other.shown),
        other.replies,
    );
    (vec![one.witness, other.witness], explanation)
}

/// Accuses replies of lost messages (G6).
fn lost(facts: &Facts<'_>, violations: &mut Violations) {
    let mut lost: Vec<u32> = facts.lost.iter().copied().collect();
    lost.sort_unstable();
    for seen in lost {
        let (op, seq) = (facts.author[seen as usize], facts.seen(seen).shown.seq);
        violations.add(Check::NothingLost, 0, || {
            let rival = (seen.saturating_sub(8)..seen.saturating_add(8).min(indices(&facts.history.seen).end))
                .map(|other| facts.seen(other))
                .filter(|other| other.shown.seq == seq && other.shown != facts.seen(seen).shown)
                .max_by_key(|other| other.replies);
            let skipper = facts.gaps.iter().find(|(before, after, _)| *before < seq && seq < *after);
            match (rival, skipper) {
                (Some(rival), _) => {
                    let explanation = format!(
                        "{}\nA was answered with seq {seq}; but B's reply shows {}. A's message is in no other reply: it is lost.",
                        explain::pair(facts, op, rival.witness),
                        explain::message(facts, &rival.shown),
                    );
                    (vec![op, rival.witness], explanation)
                }
                (None, Some((before, after, witness))) => {
                    let explanation = format!(
                        "{}\nA was answered with seq {seq}; but after {before} B's reply shows {after}. A's message is in no other reply: it is lost.",
                        explain::pair(facts, op, *witness),
                    );
                    (vec![op, *witness], explanation)
                }
                (None, None) => (vec![op], explain::single(facts, op)),
            }
        });
    }
}

/// Checks who sent what is shown (G3, G4 and G5).
fn authors(facts: &Facts<'_>, violations: &mut Violations) {
    // What stands before this run's first message was there before, or came in before it.
    let mut begun = false;
    for index in indices(&facts.history.seen).filter(|seen| facts.is_lone(*seen)) {
        let seen = facts.seen(index);
        let Some(op) = facts.author_of(index) else {
            if begun && !facts.history.settings.shared && !is_missing(facts, seen) {
                violations.add(Check::NothingInvented, 0, || {
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
            violations.add(Check::FailedAbsent, 0, || {
                let explanation = format!(
                    "{}\nA failed ({reason}), so that its message is not stored; but B's reply shows it at seq {}.",
                    explain::pair(facts, op, seen.witness),
                    seen.shown.seq
                );
                (vec![op, seen.witness], explanation)
            });
        } else if seen.shown.user != request.user && !request.is_ok() {
            violations.add(Check::NothingInvented, 0, || {
                explain_invented(facts, seen, "and its user never sent this text")
            });
        }
        let place = facts.place[op as usize];
        if place != NONE && place != index && facts.is_lone(place) {
            let other = facts.seen(place);
            violations.add(
                Check::StoredOnce,
                seen.shown.seq.abs_diff(other.shown.seq),
                || explain_stored_twice(facts, op, other, seen),
            );
        }
    }
}

/// Returns whether a message may be of this run although its request is not in the history.
fn is_missing(facts: &Facts<'_>, seen: &Seen) -> bool {
    facts.history.cut && !facts.history.foreign.contains_key(&seen.shown.text)
}

fn explain_invented(facts: &Facts<'_>, seen: &Seen, why: &str) -> (Vec<u32>, String) {
    let explanation = format!(
        "{}\nA's reply shows {}.\nNo request of this run sent that, {why}.",
        explain::single(facts, seen.witness),
        explain::message(facts, &seen.shown)
    );
    (vec![seen.witness], explanation)
}

fn explain_stored_twice(
    facts: &Facts<'_>,
    op: u32,
    one: &Seen,
    other: &Seen,
) -> (Vec<u32>, String) {
    let explanation = format!(
        "{}\nA's message was sent as one, and is shown at seq {} and at seq {}: stored twice.{}",
        explain::pair(facts, op, other.witness),
        one.shown.seq,
        other.shown.seq,
        if facts.op(op).attempts > 1 {
            " It was repeated with the same Idempotency-Key."
        } else {
            ""
        },
    );
    (vec![op, other.witness], explanation)
}
