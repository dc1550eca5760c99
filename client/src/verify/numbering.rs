//! Checks the users' numbers and the dates along the log (G8 and G10).

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::SeenMessage;

pub(super) fn check<'a>(facts: &Facts<'a>, violations: &mut Violations<'_>) -> Counters<'a> {
    let counters = check_user_seq(facts, violations);
    check_sent_at(facts, violations);
    counters
}

/// What the log shows of the users' numbers.
#[derive(Debug, Default)]
pub(super) struct Counters<'a> {
    /// The counter of each user, by the user's index in the names of the history.
    pub(super) users: Vec<Counter<'a>>,
    /// The gaps in the users' numbers; those of one user are in the order of the log.
    pub(super) gaps: Vec<UserSeqGap<'a>>,
}

/// The numbers of one user so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Counter<'a> {
    pub(super) last: Option<&'a SeenMessage>,
    /// The user's first message that was shown, if it is unknown how many came before it.
    pub(super) first: Option<&'a SeenMessage>,
    /// Set after a contested or lost message, or a fault: from then on, gaps prove nothing.
    pub(super) broken: bool,
    /// How many numbers of the log are unseen up to `last`.
    unseen: u64,
}

/// A gap in a user's numbers, which proves that messages of the user went unseen.
#[derive(Debug)]
pub(super) struct UserSeqGap<'a> {
    /// The user's message before the gap; none if the gap is at the user's beginning.
    pub(super) from: Option<&'a SeenMessage>,
    pub(super) to: &'a SeenMessage,
    /// How many messages went unseen.
    pub(super) unseen: u64,
}

/// Checks the users' numbers (G8). Where numbers of the log are unseen, a user's numbers may skip as many.
fn check_user_seq<'a>(facts: &Facts<'a>, violations: &mut Violations<'_>) -> Counters<'a> {
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
        if !facts.is_reliable(index) {
            counter.last = None;
            counter.broken = true;
            continue;
        }
        let skippable = unseen - counter.unseen;
        let known = counter.last.is_some() || (from_the_start && !counter.broken);
        let low = counter.last.map_or(1, |last| last.shown.user_seq + 1);
        if known && !(low..=low.saturating_add(skippable)).contains(&shown.user_seq) {
            let ops: Vec<u32> = counter
                .last
                .into_iter()
                .chain([seen])
                .map(|seen| seen.witness)
                .collect();
            violations.add(Check::UserSeq, low.abs_diff(shown.user_seq), &ops, || {
                explain_miscounted(facts, counter.last, seen)
            });
            counter.broken = true;
        } else if known && shown.user_seq > low {
            counters.gaps.push(UserSeqGap {
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

fn explain_miscounted(facts: &Facts<'_>, last: Option<&SeenMessage>, seen: &SeenMessage) -> String {
    let Some(last) = last else {
        return format!(
            "A's reply shows {}: this user's first message, so that user_seq should be 1.",
            explain::message(facts, &seen.shown)
        );
    };
    format!(
        "{}The user has no other message between, so that user_seq should be {}: a contradiction.",
        explain::shown_by_both(facts, last, seen),
        last.shown.user_seq + 1,
    )
}

/// Checks that dates do not go back (G10).
fn check_sent_at(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    let mut previous: Option<&SeenMessage> = None;
    for index in indices(&facts.history.seen).filter(|seen| facts.is_reliable(*seen)) {
        let seen = facts.seen(index);
        if let Some(previous) =
            previous.filter(|previous| previous.shown.sent_at_us > seen.shown.sent_at_us)
        {
            let back = previous.shown.sent_at_us.abs_diff(seen.shown.sent_at_us);
            let ops = [previous.witness, seen.witness];
            violations.add(Check::SentAt, back, &ops, || {
                format!(
                    "{}The later one was sent {} earlier: a contradiction.",
                    explain::shown_by_both(facts, previous, seen),
                    explain::milliseconds(back.saturating_mul(1000)),
                )
            });
        }
        previous = Some(seen);
    }
}
