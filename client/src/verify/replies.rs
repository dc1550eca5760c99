//! Checks each reply by itself (S1 to S5).

use std::ops::Range;

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::{IrregularReply, own_position};

/// Checks every irregular reply; the others were found correct when they were recorded.
pub(super) fn check(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    check_unreadable(facts, violations);
    for irregular in &facts.history.irregular {
        check_reply(facts, irregular, violations);
    }
}

/// Reports each 200 that cannot be parsed, of any attempt (S1). The outcome of the request is unknown, but the reply breaks the
/// promise about its form.
fn check_unreadable(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    for (op, fault) in &facts.history.faults {
        violations.add(Check::WellFormed, 0, &[*op], || {
            format!("The reply can't be read: {fault}.")
        });
    }
    let explained = facts.history.faults.len() as u64;
    violations.count_more(Check::WellFormed, facts.history.unreadable - explained);
}

fn check_reply(facts: &Facts<'_>, irregular: &IrregularReply, violations: &mut Violations<'_>) {
    let IrregularReply { op, window } = irregular;
    let full = facts.history.window;
    let request = facts.op(*op);
    let mut add = |check, size, end: &dyn Fn() -> String| {
        violations.add(check, size, &[*op], || {
            let seqs = explain::seqs(window);
            format!("The reply shows seq {seqs}.\n{}", end())
        });
    };
    if window.len() > full {
        add(Check::WellFormed, window.len() as u64, &|| {
            "That is more than ten messages.".to_owned()
        });
    }
    let Some(own) = own_position(window, request.text) else {
        add(Check::OwnMessage, 0, &|| {
            explain::without_own(facts, window)
        });
        return;
    };
    if window[own].user != request.user {
        let names = &facts.history.names;
        let (sent, shown) = (names.name(request.user), names.name(window[own].user));
        add(Check::OwnMessage, 0, &|| {
            format!("Sent as {sent:?}, it is shown as {shown:?}'s.")
        });
    }
    if own + 1 != window.len() {
        let later = window.len() - own - 1;
        add(Check::OwnLast, later as u64, &|| {
            format!(
                "A's own message, seq {}, is not the last one: {later} follow it.",
                window[own].seq
            )
        });
    }
    for pair in window[..=own].windows(2) {
        let (before, after) = (pair[0].seq, pair[1].seq);
        if after <= before {
            add(Check::Consecutive, before - after, &|| {
                format!("After {before} stands {after}: not in the order of seq.")
            });
        } else if after > before + 1 && exists_between(facts, before, after) {
            add(Check::Consecutive, after - before - 1, &|| {
                format!(
                    "After {before} stands {after}: what is between exists, as other replies show it."
                )
            });
        }
    }
    let (first, last) = (window[0].seq, window[window.len() - 1].seq);
    let expected_first = last + 1 - last.min(full as u64);
    if window.len() < full
        && (expected_first..first.min(last)).any(|seq| should_be_shown(facts, seq))
    {
        add(Check::WindowFull, first - expected_first, &|| {
            format!(
                "It begins at {first}, and should begin at {expected_first}: ten messages, or all there are."
            )
        });
    }
}

/// Returns whether a reply that begins too late should show this number. A lost message, or a hole in all replies, is another
/// fault.
fn should_be_shown(facts: &Facts<'_>, seq: u64) -> bool {
    let is_lost = || shown(facts, seq..seq + 1).any(|seen| facts.lost.contains(&seen));
    exists_between(facts, seq - 1, seq + 1) || !(is_lost() || facts.gap_around(seq).is_some())
}

/// Returns whether a message between two numbers is known and not lost. A lost message, or a hole in all replies, is another
/// fault.
fn exists_between(facts: &Facts<'_>, before: u64, after: u64) -> bool {
    shown(facts, before + 1..after).any(|seen| !facts.lost.contains(&seen))
}

/// Returns the shown messages with these numbers.
fn shown(facts: &Facts<'_>, seqs: Range<u64>) -> impl Iterator<Item = u32> {
    let seen = &facts.history.seen;
    let from = seen.partition_point(|seen| seen.shown.seq < seqs.start);
    indices(seen)
        .skip(from)
        .take_while(move |index| seen[*index as usize].shown.seq < seqs.end)
}
