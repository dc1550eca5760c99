//! P1: what readers are shown. After the last answer, every replica was asked for a page of its last messages.

use super::facts::{Facts, indices};
use super::{Check, Findings, tell};
use crate::history::{Page, Shown};

/// Runs after all other checks, as it takes what they found for no second fault.
pub(super) fn check(facts: &Facts<'_>, findings: &mut Findings) {
    for page in &facts.history.pages {
        if let Ok(messages) = &page.messages {
            order(facts, (page, messages), findings);
            contents(facts, (page, messages), findings);
            reach(facts, (page, messages), findings);
        }
    }
}

/// Each message stands right after the one before it. A number that replies skip as well is another fault.
fn order(facts: &Facts<'_>, (page, messages): (&Page, &[Shown]), findings: &mut Findings) {
    let has_holes = findings.has(Check::NoHole);
    for pair in messages.windows(2) {
        let (before, after) = (pair[0].seq, pair[1].seq);
        let is_next = after == before + 1;
        let is_known_gap = after > before && (has_holes || facts.is_skipped(before + 1));
        if !is_next && !is_known_gap {
            findings.add(Check::Page, after.abs_diff(before), || {
                let story = format!(
                    "Let P = {}\nP shows {after} right after {before}: a contradiction.",
                    tell::page(facts, page)
                );
                (Vec::new(), story)
            });
        }
    }
}

/// No message is shown otherwise than in replies. What these do not agree on is another fault.
fn contents(facts: &Facts<'_>, (page, messages): (&Page, &[Shown]), findings: &mut Findings) {
    let seen = &facts.history.seen;
    for shown in messages {
        let from = seen.partition_point(|seen| seen.shown.seq < shown.seq);
        let known = indices(seen).nth(from).filter(|known| {
            facts.seen(*known).shown.seq == shown.seq
                && facts.is_lone(*known)
                && !facts.lost.contains(known)
        });
        let Some(known) = known.map(|known| facts.seen(known)) else {
            continue;
        };
        if known.shown != *shown {
            findings.add(Check::Page, 0, || {
                let story = format!(
                    "{}\n    P = {}\nA's reply shows {}  ({} replies do)\nP shows {}\nOne seq, two contents: a contradiction.",
                    tell::single(facts, known.witness),
                    tell::page(facts, page),
                    tell::message(facts, &known.shown),
                    known.replies,
                    tell::message(facts, shown),
                );
                (vec![known.witness], story)
            });
        }
    }
}

/// What was answered before the page was asked for is on it, or before it: the real-time order of R1 for readers. Where numbers
/// are given twice, the greatest one says nothing.
fn reach(facts: &Facts<'_>, (page, messages): (&Page, &[Shown]), findings: &mut Findings) {
    if findings.has(Check::SeqUnique) {
        return;
    }
    let answered = indices(&facts.history.ops).filter(|op| {
        let request = facts.op(*op);
        request.is_numbered() && request.end_ns < page.start_ns && facts.sound_place(*op).is_some()
    });
    let Some(last_answered) = answered.max_by_key(|op| facts.op(*op).seq) else {
        return;
    };
    let request = facts.op(last_answered);
    let reached = messages.iter().map(|shown| shown.seq).max();
    let missing = request.seq.saturating_sub(reached.unwrap_or(0));
    if missing > 0 {
        findings.add(Check::Page, missing, || {
            let end = match reached {
                Some(seq) => format!("ends at seq {seq}, before {}", request.seq),
                None => "shows nothing".to_owned(),
            };
            let story = format!(
                "{}\n    P = {}\nA was answered {} before P was asked for; but P {end}: a contradiction.",
                tell::single(facts, last_answered),
                tell::page(facts, page),
                tell::milliseconds(page.start_ns - request.end_ns),
            );
            (vec![last_answered], story)
        });
    }
}
