//! G8 and G10: what is counted along the log.

use super::facts::{Facts, indices};
use super::{Check, Findings, tell};
use crate::history::Seen;

pub(super) fn check<'a>(facts: &Facts<'a>, findings: &mut Findings) -> Counters<'a> {
    let counters = user_seq(facts, findings);
    sent_at(facts, findings);
    counters
}

/// What is known of the users' numbers.
#[derive(Debug, Default)]
pub(super) struct Counters<'a> {
    /// Beside the names of the history.
    pub(super) users: Vec<Counter<'a>>,
    /// Of each user in the order of the log.
    pub(super) jumps: Vec<Jump<'a>>,
}

/// One user's numbers so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Counter<'a> {
    pub(super) last: Option<&'a Seen>,
    /// The first message that was shown, if nobody knows how many were before it.
    pub(super) first: Option<&'a Seen>,
    /// A contested or lost message broke the chain, or a fault was found: the jumps say nothing any more.
    pub(super) broken: bool,
    /// Numbers that nobody saw, up to the last message.
    unseen: u64,
}

/// A user's number that is greater than the one before by more than one, so that messages of the user went unseen.
#[derive(Debug)]
pub(super) struct Jump<'a> {
    /// None if the user had no message before.
    pub(super) from: Option<&'a Seen>,
    pub(super) to: &'a Seen,
    /// How many.
    pub(super) unseen: u64,
}

/// G8. Where numbers went unseen, a user may have been counted up as often.
fn user_seq<'a>(facts: &Facts<'a>, findings: &mut Findings) -> Counters<'a> {
    let mut counters = Counters::default();
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
        if counters.users.len() <= user {
            counters.users.resize(user + 1, Counter::default());
        }
        let counter = &mut counters.users[user];
        if !facts.is_lone(index) || facts.lost.contains(&index) {
            counter.last = None;
            counter.broken = true;
            continue;
        }
        let skippable = unseen - counter.unseen;
        let known = counter.last.is_some() || (from_the_start && !counter.broken);
        let low = counter.last.map_or(1, |last| last.shown.user_seq + 1);
        if known && !(low..=low.saturating_add(skippable)).contains(&shown.user_seq) {
            findings.add(Check::UserSeq, low.abs_diff(shown.user_seq), || {
                miscounted(facts, counter.last, seen)
            });
            counter.broken = true;
        } else if known && shown.user_seq > low {
            counters.jumps.push(Jump {
                from: counter.last,
                to: seen,
                unseen: shown.user_seq - low,
            });
        } else if !known {
            counter.first = Some(seen);
        }
        counter.last = Some(seen);
        counter.unseen = unseen;
    }
    counters
}

fn miscounted(facts: &Facts<'_>, last: Option<&Seen>, seen: &Seen) -> (Vec<u32>, String) {
    let Some(last) = last else {
        let story = format!(
            "{}\nA's reply shows {}: this user's first message, so that user_seq should be 1.",
            tell::single(facts, seen.witness),
            tell::message(facts, &seen.shown)
        );
        return (vec![seen.witness], story);
    };
    let story = format!(
        "{}\nA's reply shows {}\nB's reply shows {}\nThe user has no other message between, so that user_seq should be {}: a contradiction.",
        tell::pair(facts, last.witness, seen.witness),
        tell::message(facts, &last.shown),
        tell::message(facts, &seen.shown),
        last.shown.user_seq + 1,
    );
    (vec![last.witness, seen.witness], story)
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
                    tell::message(facts, &previous.shown),
                    tell::message(facts, &seen.shown),
                    std::time::Duration::from_micros(back).as_secs_f64() * 1000.0,
                );
                (vec![previous.witness, seen.witness], story)
            });
        }
        previous = Some(seen);
    }
}
