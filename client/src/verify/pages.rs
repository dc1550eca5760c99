//! Checks the pages that readers get (P1). After the last answer, every replica was asked for a page of its last messages.

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::{Page, ShownMessage};

/// Checks all pages. Runs after all other checks, so that a fault that they found is not reported again.
pub(super) fn check(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    for page in &facts.history.pages {
        if let Ok(messages) = &page.messages {
            check_order(facts, (page, messages), violations);
            check_contents(facts, (page, messages), violations);
            check_freshness(facts, (page, messages), violations);
        }
    }
}

/// Checks that the numbers are consecutive. A number that replies skip as well is another fault.
fn check_order(
    facts: &Facts<'_>,
    (page, messages): (&Page, &[ShownMessage]),
    violations: &mut Violations<'_>,
) {
    let has_holes = violations.has(Check::NoHole);
    for pair in messages.windows(2) {
        let (before, after) = (pair[0].seq, pair[1].seq);
        let is_next = after == before + 1;
        let is_known_gap = after > before && (has_holes || facts.gap_around(before + 1).is_some());
        if !is_next && !is_known_gap {
            violations.add(Check::Page, after.abs_diff(before), &[], || {
                let page = explain::page(facts, page);
                format!("Let P = {page}\nP shows {after} right after {before}: a contradiction.")
            });
        }
    }
}

/// Checks that each message is the same as in the replies. A message on which the replies disagree is another fault.
fn check_contents(
    facts: &Facts<'_>,
    (page, messages): (&Page, &[ShownMessage]),
    violations: &mut Violations<'_>,
) {
    let seen = &facts.history.seen;
    for shown in messages {
        let from = seen.partition_point(|seen| seen.shown.seq < shown.seq);
        let known = indices(seen)
            .nth(from)
            .filter(|known| facts.seen(*known).shown.seq == shown.seq && facts.is_reliable(*known));
        let Some(known) = known.map(|known| facts.seen(known)) else {
            continue;
        };
        if known.shown != *shown {
            violations.add(Check::Page, 0, &[known.witness], || {
                format!(
                    "    P = {}\nA's reply shows {}  ({} replies do)\nP shows {}\nOne seq, two contents: a contradiction.",
                    explain::page(facts, page),
                    explain::message(facts, &known.shown),
                    known.replies,
                    explain::message(facts, shown),
                )
            });
        }
    }
}

/// Checks that a page contains the messages that were answered before it was requested: the real-time order of R1 for readers.
/// Skipped if numbers were given twice, because the greatest number then proves nothing.
fn check_freshness(
    facts: &Facts<'_>,
    (page, messages): (&Page, &[ShownMessage]),
    violations: &mut Violations<'_>,
) {
    if violations.has(Check::SeqUnique) {
        return;
    }
    let answered = indices(&facts.history.ops).filter(|op| {
        let request = facts.op(*op);
        request.is_numbered()
            && request.end_ns < page.start_ns
            && facts.reliable_place(*op).is_some()
    });
    let Some(last_answered) = answered.max_by_key(|op| facts.op(*op).seq) else {
        return;
    };
    let request = facts.op(last_answered);
    let reached = messages.iter().map(|shown| shown.seq).max();
    let missing = request.seq.saturating_sub(reached.unwrap_or(0));
    if missing > 0 {
        violations.add(Check::Page, missing, &[last_answered], || {
            let end = match reached {
                Some(seq) => format!("ends at seq {seq}, before {}", request.seq),
                None => "shows nothing".to_owned(),
            };
            format!(
                "    P = {}\nA was answered {} before P was asked for; but P {end}: a contradiction.",
                explain::page(facts, page),
                explain::milliseconds(page.start_ns - request.end_ns),
            )
        });
    }
}
