//! G1 to G6: what all replies together say about the log.

use std::ops::Range;

use super::facts::{Facts, indices};
use super::{Check, Findings, tell};
use crate::history::{NONE, Outcome, Seen};

pub(super) fn check(facts: &Facts<'_>, findings: &mut Findings) {
    for group in facts.by_number() {
        if group.len() > 1 {
            contested(facts, group, findings);
        }
    }
    lost(facts, findings);
    authors(facts, findings);
}

/// G1 and G2 at a number that several messages claim.
fn contested(facts: &Facts<'_>, group: Range<u32>, findings: &mut Findings) {
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
        findings.add(Check::SeqUnique, owners.len() as u64, || {
            let seq = facts.op(one).seq;
            let story = format!(
                "{}\nBoth were answered with seq {seq}: a contradiction.",
                tell::pair(facts, one, other)
            );
            (vec![one, other], story)
        });
    }
    let varied = texts.iter().any(|text| text.len() > 1);
    if varied || (texts.len() > 1 && owners.len() < texts.len()) {
        // The message in doubt and its fullest rival.
        claims.sort_by_key(|seen| facts.seen(*seen).replies);
        if let [rare, .., common] = claims[..] {
            findings.add(Check::OneContent, claims.len() as u64, || {
                two_contents(facts, common, rare)
            });
        }
    }
}

fn two_contents(facts: &Facts<'_>, common: u32, rare: u32) -> (Vec<u32>, String) {
    let (one, other) = (facts.seen(common), facts.seen(rare));
    let story = format!(
        "{}\nA's reply shows {}  ({} replies do)\nB's reply shows {}  ({} replies do)\nOne seq, two contents: a contradiction.",
        tell::pair(facts, one.witness, other.witness),
        tell::message(facts, &one.shown),
        one.replies,
        tell::message(facts, &other.shown),
        other.replies,
    );
    (vec![one.witness, other.witness], story)
}

/// G6.
fn lost(facts: &Facts<'_>, findings: &mut Findings) {
    let mut lost: Vec<u32> = facts.lost.iter().copied().collect();
    lost.sort_unstable();
    for seen in lost {
        let (op, seq) = (facts.author[seen as usize], facts.seen(seen).shown.seq);
        findings.add(Check::NothingLost, 0, || {
            let rival = (seen.saturating_sub(8)..seen.saturating_add(8).min(indices(&facts.history.seen).end))
                .map(|other| facts.seen(other))
                .filter(|other| other.shown.seq == seq && other.shown != facts.seen(seen).shown)
                .max_by_key(|other| other.replies);
            let skipper = facts.gaps.iter().find(|(before, after, _)| *before < seq && seq < *after);
            match (rival, skipper) {
                (Some(rival), _) => {
                    let story = format!(
                        "{}\nA was answered with seq {seq}; but B's reply shows {}. A's message is in no other reply: it is lost.",
                        tell::pair(facts, op, rival.witness),
                        tell::message(facts, &rival.shown),
                    );
                    (vec![op, rival.witness], story)
                }
                (None, Some((before, after, witness))) => {
                    let story = format!(
                        "{}\nA was answered with seq {seq}; but after {before} B's reply shows {after}. A's message is in no other reply: it is lost.",
                        tell::pair(facts, op, *witness),
                    );
                    (vec![op, *witness], story)
                }
                (None, None) => (vec![op], tell::single(facts, op)),
            }
        });
    }
}

/// G3, G4 and G5: who sent what is shown.
fn authors(facts: &Facts<'_>, findings: &mut Findings) {
    // What stands before this run's first message was there before, or came in before it.
    let mut begun = false;
    for index in indices(&facts.history.seen).filter(|seen| facts.is_lone(*seen)) {
        let seen = facts.seen(index);
        let Some(op) = facts.author_of(index) else {
            if begun && !facts.history.setting.shared && !is_missing(facts, seen) {
                findings.add(Check::NothingInvented, 0, || {
                    let why = "and nobody else may write. (An earlier run's message that is stored late \
                               looks the same: wait until it is, or say --shared)";
                    invented(facts, seen, why)
                });
            }
            continue;
        };
        begun = true;
        let request = facts.op(op);
        if let Outcome::Failed(reason) = request.outcome {
            findings.add(Check::FailedAbsent, 0, || {
                let story = format!(
                    "{}\nA failed ({reason}), so that its message is not stored; but B's reply shows it at seq {}.",
                    tell::pair(facts, op, seen.witness),
                    seen.shown.seq
                );
                (vec![op, seen.witness], story)
            });
        } else if seen.shown.user != request.user && !request.is_ok() {
            findings.add(Check::NothingInvented, 0, || {
                invented(facts, seen, "and its user never sent this text")
            });
        }
        let place = facts.place[op as usize];
        if place != NONE && place != index && facts.is_lone(place) {
            let other = facts.seen(place);
            findings.add(
                Check::StoredOnce,
                seen.shown.seq.abs_diff(other.shown.seq),
                || twice(facts, op, other, seen),
            );
        }
    }
}

/// Whether it may be a message of this run whose request is not in the history.
fn is_missing(facts: &Facts<'_>, seen: &Seen) -> bool {
    facts.history.cut && !facts.history.foreign.contains_key(&seen.shown.text)
}

fn invented(facts: &Facts<'_>, seen: &Seen, why: &str) -> (Vec<u32>, String) {
    let story = format!(
        "{}\nA's reply shows {}.\nNo request of this run sent that, {why}.",
        tell::single(facts, seen.witness),
        tell::message(facts, &seen.shown)
    );
    (vec![seen.witness], story)
}

fn twice(facts: &Facts<'_>, op: u32, one: &Seen, other: &Seen) -> (Vec<u32>, String) {
    let story = format!(
        "{}\nA's message was sent as one, and is shown at seq {} and at seq {}: stored twice.{}",
        tell::pair(facts, op, other.witness),
        one.shown.seq,
        other.shown.seq,
        if facts.op(op).attempts > 1 {
            " It was repeated with the same Idempotency-Key."
        } else {
            ""
        },
    );
    (vec![op, other.witness], story)
}
