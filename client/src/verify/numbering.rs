//! G8 to G10: what is counted along the log.

use std::collections::HashMap;

use super::facts::{Facts, indices};
use super::log::may_fill;
use super::{Check, Findings, tell};
use crate::history::Seen;

pub(super) fn check(facts: &Facts<'_>, findings: &mut Findings) {
    let counters = user_seq(facts, findings);
    // A hole is counted for somebody: that is no second fault.
    if !facts.history.setting.shared && !findings.has(Check::NoHole) {
        final_counters(facts, &counters, findings);
    }
    sent_at(facts, findings);
}

/// One user's numbers so far.
#[derive(Debug, Default, Clone)]
struct Counter<'a> {
    last: Option<&'a Seen>,
    first: u64,
    shown: u64,
    /// Numbers that nobody saw, up to the last message.
    unseen: u64,
    /// A contested or lost message broke the chain, or a fault was found: the total says nothing any more.
    broken: bool,
}

/// G8. Where numbers went unseen, a user may have been counted up as often.
fn user_seq<'a>(facts: &Facts<'a>, findings: &mut Findings) -> Vec<Counter<'a>> {
    // Beside the names of the history.
    let mut counters: Vec<Counter<'a>> = Vec::new();
    let mut unseen: u64 = 0;
    let mut previous: Option<u64> = None;
    let from_the_start = facts
        .history
        .seen
        .first()
        .is_some_and(|seen| seen.shown.seq == 1);
    for index in indices(&facts.history.seen) {
        let seen = facts.seen(index);
        let shown = seen.shown;
        if let Some(previous) = previous {
            unseen = unseen.saturating_add(shown.seq.saturating_sub(previous + 1));
        }
        previous = Some(shown.seq);
        let user = shown.user as usize;
        if counters.len() <= user {
            counters.resize(user + 1, Counter::default());
        }
        let counter = &mut counters[user];
        if !facts.is_lone(index) || facts.lost.contains(&index) {
            counter.last = None;
            counter.broken = true;
            continue;
        }
        let skippable = unseen - counter.unseen;
        let (low, known) = match counter.last {
            Some(last) => (last.shown.user_seq + 1, true),
            None => (1, from_the_start && !counter.broken),
        };
        if known && !(low..=low.saturating_add(skippable)).contains(&shown.user_seq) {
            findings.add(Check::UserSeq, low.abs_diff(shown.user_seq), || {
                miscounted(facts, counter.last, seen)
            });
            counter.broken = true;
        }
        if counter.shown == 0 {
            counter.first = shown.user_seq;
        }
        counter.last = Some(seen);
        counter.shown += 1;
        counter.unseen = unseen;
    }
    counters
}

fn miscounted(facts: &Facts<'_>, last: Option<&Seen>, seen: &Seen) -> (Vec<u32>, String) {
    let Some(last) = last else {
        let story = format!(
            "{}\nA's reply shows {}: this user's first message, so that user_seq should be 1.",
            tell::single(facts, seen.witness),
            tell::message(facts, seen)
        );
        return (vec![seen.witness], story);
    };
    let story = format!(
        "{}\nA's reply shows {}\nB's reply shows {}\nThe user has no other message between, so that user_seq should be {}: a contradiction.",
        tell::pair(facts, last.witness, seen.witness),
        tell::message(facts, last),
        tell::message(facts, seen),
        last.shown.user_seq + 1,
    );
    (vec![last.witness, seen.witness], story)
}

/// G9. What was counted and never shown must be somebody's unknown message.
fn final_counters(facts: &Facts<'_>, counters: &[Counter<'_>], findings: &mut Findings) {
    let mut open: HashMap<u32, u64> = HashMap::new();
    for op in indices(&facts.history.ops).filter(|op| may_fill(facts, *op)) {
        *open.entry(facts.op(op).user).or_default() += 1;
    }
    for (user, counter) in (0_u32..).zip(counters) {
        let Some(last) = counter.last.filter(|_| !counter.broken) else {
            continue;
        };
        let counted = last.shown.user_seq - counter.first + 1;
        let open = open.get(&user).copied().unwrap_or(0);
        if counted - counter.shown > open {
            findings.add(Check::Counters, counted - counter.shown - open, || {
                let story = format!(
                    "{}\nIts reply shows {}.\nFrom user_seq {} on, {} messages of this user were shown and {open} have an unknown outcome, but {counted} were counted.",
                    tell::single(facts, last.witness),
                    tell::message(facts, last),
                    counter.first,
                    counter.shown,
                );
                (vec![last.witness], story)
            });
        }
    }
}

/// G10.
fn sent_at(facts: &Facts<'_>, findings: &mut Findings) {
    let lone = indices(&facts.history.seen)
        .filter(|seen| facts.is_lone(*seen) && !facts.lost.contains(seen));
    let mut previous: Option<&Seen> = None;
    for index in lone {
        let seen = facts.seen(index);
        if let Some(previous) =
            previous.filter(|previous| previous.shown.sent_at_us > seen.shown.sent_at_us)
        {
            let back = previous.shown.sent_at_us.abs_diff(seen.shown.sent_at_us);
            findings.add(Check::SentAt, back, || {
                let story = format!(
                    "{}\nA's reply shows {}\nB's reply shows {}\nThe later one was sent {:.3} ms earlier: a contradiction.",
                    tell::pair(facts, previous.witness, seen.witness),
                    tell::message(facts, previous),
                    tell::message(facts, seen),
                    std::time::Duration::from_micros(back).as_secs_f64() * 1000.0,
                );
                (vec![previous.witness, seen.witness], story)
            });
        }
        previous = Some(seen);
    }
}
