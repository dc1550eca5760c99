//! Checks the numbers that no reply shows (G7 and G9). Where many answers in a row are missing, some numbers go unseen, and so do
//! their messages. Only this is known of such a message: it was sent by a request of unknown outcome, it comes after all that
//! was answered before it was sent, and its user's numbers leave room for it. So numbers and messages must be matched:
//! each unseen number needs a message (G7), and each message that a gap in a user's numbers proves needs a number (G9). If there
//! is a matching for each of the two, there is one for both at once (Mendelsohn and Dulmage, 1958).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::facts::{Facts, indices};
use super::numbering::{Counters, UserSeqGap};
use super::{Check, Violations, explain, time};
use crate::history::{NONE, Op, Outcome, SeenMessage};

/// Checks the unseen numbers. Runs after the checks along the log, so that a fault that they found is not reported again.
pub(super) fn check(facts: &Facts<'_>, counters: &Counters<'_>, violations: &mut Violations<'_>) {
    let holes = find_holes(facts, violations);
    // Messages of other writers, or of requests missing from the history, may have any number.
    if facts.history.settings.shared || facts.history.is_truncated || holes.is_empty() {
        return;
    }
    let candidates = candidates(facts, !violations.has(Check::RealTime));
    check_time(&holes, &candidates, violations);
    // A hole may be counted in the numbers of some user: that is not a second fault.
    if violations.has(Check::NoHole) {
        return;
    }
    let intervals = intervals(counters, &candidates);
    check_counters(facts, &holes, &intervals, violations);
    if !violations.has(Check::Counters) {
        check_users(&holes, &intervals, violations);
    }
}

/// A hole: consecutive numbers that no reply shows, given by the messages before and after it.
type Hole<'a> = (&'a SeenMessage, &'a SeenMessage);

/// Reports the holes that lie within one reply (G7), and returns the others.
fn find_holes<'a>(facts: &Facts<'a>, violations: &mut Violations<'_>) -> Vec<Hole<'a>> {
    let mut holes = Vec::new();
    for pair in facts.history.seen.windows(2) {
        let (before, after) = (pair[0].shown.seq, pair[1].shown.seq);
        if after <= before + 1 {
            continue;
        }
        let spanned = facts
            .gaps
            .partition_point(|(from, to, _)| (*from, *to) < (before, after));
        match facts.gaps.get(spanned) {
            Some((from, to, op)) if (*from, *to) == (before, after) => {
                violations.add(Check::NoHole, after - before - 1, &[*op], || {
                    format!("Its reply shows {after} right after {before}, and no reply shows what is between.")
                });
            }
            _ => holes.push((&pair[0], &pair[1])),
        }
    }
    holes
}

/// A request whose message may be stored although no reply shows it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    user: u32,
    /// The greatest number that was answered before the request was sent: its own number is greater.
    after: u64,
}

/// Returns all candidates, sorted by `after`. If the log contradicts real time (`is_ordered` is false), `after` is 0 for all.
fn candidates(facts: &Facts<'_>, is_ordered: bool) -> Vec<Candidate> {
    let mut by_start: Vec<&Op> = indices(&facts.history.ops)
        .filter(|op| is_candidate(facts, *op))
        .map(|op| facts.op(op))
        .collect();
    by_start.sort_unstable_by_key(|op| op.start_ns);
    let mut candidates = Vec::with_capacity(by_start.len());
    let mut add = |op: &Op, after| {
        candidates.push(Candidate {
            user: op.user,
            after,
        });
    };
    // From the end of the log, as in R1: the first answered message found that precedes a request is the one with the greatest
    // number.
    let numbered = time::numbered(facts).rev().filter(|_| is_ordered);
    for (seq, op) in numbered {
        let answered = facts.op(op);
        let is_later = |op: &mut &Op| answered.is_ok() && op.start_ns > answered.end_ns;
        while let Some(op) = by_start.pop_if(is_later) {
            add(op, seq);
        }
    }
    for op in by_start {
        add(op, 0);
    }
    candidates.sort_unstable_by_key(|candidate| (candidate.after, candidate.user));
    candidates
}

fn is_candidate(facts: &Facts<'_>, op: u32) -> bool {
    let request = facts.op(op);
    let is_unknown = match request.outcome {
        Outcome::Ok => request.seq == 0,
        Outcome::Unknown(_) => true,
        Outcome::Failed(_) => false,
    };
    is_unknown && facts.place[op as usize] == NONE
}

/// Checks holes by time alone (G7): up to each number, there must be at least as many candidates as unseen numbers.
fn check_time(holes: &[Hole<'_>], candidates: &[Candidate], violations: &mut Violations<'_>) {
    let mut unseen: u64 = 0;
    let mut worst: Option<(u64, u64, usize, &SeenMessage)> = None;
    for (before, after) in holes {
        unseen = unseen.saturating_add(after.shown.seq - before.shown.seq - 1);
        let sent = candidates.partition_point(|candidate| candidate.after < after.shown.seq);
        let excess = unseen.saturating_sub(sent as u64);
        if excess > worst.map_or(0, |(worst, ..)| worst) {
            worst = Some((excess, unseen, sent, after));
        }
    }
    if let Some((excess, unseen, sent, after)) = worst {
        violations.add(Check::NoHole, excess, &[after.witness], || {
            format!(
                "Its reply shows seq {}. Of the numbers before, {unseen} are shown by no reply; but only {sent} requests have an unknown outcome and could be there.",
                after.shown.seq
            )
        });
    }
}

/// The interval of numbers that an unseen message may have.
#[derive(Debug, Clone, Copy)]
struct Interval<'a> {
    after: u64,
    before: u64,
    /// The gap in the user's numbers that proves that the message was stored; without a gap, it may not be stored at all.
    gap: Option<&'a UserSeqGap<'a>>,
}

/// Returns for each user as many intervals as messages may be unseen. Which of the user's requests they belong to is unknown:
/// that they were stored in the order in which they were sent leaves the most possibilities.
fn intervals<'a>(counters: &'a Counters<'a>, candidates: &[Candidate]) -> Vec<Interval<'a>> {
    let mut sent: HashMap<u32, Vec<u64>> = HashMap::new();
    for candidate in candidates {
        sent.entry(candidate.user)
            .or_default()
            .push(candidate.after);
    }
    let counter = |user: u32| counters.users.get(user as usize);
    let mut taken: HashMap<u32, usize> = HashMap::new();
    let mut intervals = Vec::new();
    for gap in &counters.gaps {
        let user = gap.to.shown.user;
        if counter(user).is_some_and(|counter| counter.broken) {
            continue;
        }
        let from = gap.from.map_or(0, |from| from.shown.seq);
        let sent = sent.get(&user).map_or(&[][..], Vec::as_slice);
        let taken = taken.entry(user).or_default();
        for _ in 0..gap.unseen {
            intervals.push(Interval {
                after: sent.get(*taken).map_or(u64::MAX, |sent| from.max(*sent)),
                before: gap.to.shown.seq,
                gap: Some(gap),
            });
            *taken += 1;
        }
    }
    for (user, sent) in sent {
        let counter = counter(user).cloned().unwrap_or_default();
        let taken = taken.get(&user).copied().unwrap_or(0).min(sent.len());
        let last = counter.last.filter(|_| !counter.broken);
        let last = last.map_or(0, |last| last.shown.seq);
        let interval = |after: u64, before: u64| Interval {
            after,
            before,
            gap: None,
        };
        intervals.extend(
            sent[taken..]
                .iter()
                .map(|sent| interval(last.max(*sent), u64::MAX)),
        );
        // It is unknown how many of them come before the user's first message that was shown.
        if let Some(first) = counter.first.filter(|_| !counter.broken) {
            intervals.extend(sent.iter().map(|sent| interval(*sent, first.shown.seq)));
        }
    }
    intervals
}

/// Checks that each message that a gap in a user's numbers proves can be one of unknown outcome, and can have a number (G9).
fn check_counters(
    facts: &Facts<'_>,
    holes: &[Hole<'_>],
    intervals: &[Interval<'_>],
    violations: &mut Violations<'_>,
) {
    let required: Vec<Interval<'_>> = intervals
        .iter()
        .copied()
        .filter(|interval| interval.gap.is_some())
        .collect();
    let unmatched = match_all(holes, required).unmatched;
    for gaps in unmatched.chunk_by(|one, other| std::ptr::eq(*one, *other)) {
        let (UserSeqGap { from, to, unseen }, unmatched) = (gaps[0], gaps.len());
        let ops: Vec<u32> = from.iter().chain([to]).map(|seen| seen.witness).collect();
        violations.add(Check::Counters, unmatched as u64, &ops, || {
            let shown = match from {
                Some(from) => explain::shown_by_both(facts, from, to),
                None => format!(
                    "Its reply shows {}: the user's first one that is shown.\n",
                    explain::message(facts, &to.shown)
                ),
            };
            format!(
                "{shown}So {unseen} messages of this user are before it that no reply shows; but for {unmatched} of them no number is free, or no request of unknown outcome was sent."
            )
        });
    }
}

/// Checks holes by users (G7): a number is a hole if the later numbers of all users who could have sent its message leave no gap
/// for it.
fn check_users(holes: &[Hole<'_>], intervals: &[Interval<'_>], violations: &mut Violations<'_>) {
    if let Some((seq, after)) = match_all(holes, intervals.to_vec()).unfilled {
        violations.add(Check::NoHole, 1, &[after.witness], || {
            format!(
                "Its reply shows seq {}. No reply shows seq {seq}; and of each request of unknown outcome that could be there, the user was counted on without it.",
                after.shown.seq,
            )
        });
    }
}

/// What is left over after the numbers in holes and the messages were matched.
#[derive(Debug, Default)]
struct Matching<'a> {
    /// The first number without a message, and the message after its hole.
    unfilled: Option<(u64, &'a SeenMessage)>,
    /// The gap of each message that has no number, in the order of the log.
    unmatched: Vec<&'a UserSeqGap<'a>>,
}

/// Gives each number to the message whose interval ends first, among those that may have it. This greedy matching fills all
/// holes, and leaves no message out, if any matching does.
fn match_all<'a>(holes: &[Hole<'a>], mut intervals: Vec<Interval<'a>>) -> Matching<'a> {
    let mut matching = Matching::default();
    intervals.sort_unstable_by_key(|interval| interval.after);
    let mut next = 0;
    let mut available = BinaryHeap::new();
    for (before, after) in holes {
        for seq in before.shown.seq + 1..after.shown.seq {
            while let Some(interval) = intervals.get(next).filter(|interval| interval.after < seq) {
                available.push(Reverse((interval.before, next)));
                next += 1;
            }
            let mut taken = available.pop();
            while let Some(Reverse((_, expired))) = taken.filter(|Reverse((end, _))| *end < seq) {
                matching.unmatched.extend(intervals[expired].gap);
                taken = available.pop();
            }
            if taken.is_none() {
                matching.unfilled.get_or_insert((seq, *after));
            }
        }
    }
    let remaining = available.into_iter().map(|Reverse((_, index))| index);
    let remaining = remaining.chain(next..intervals.len());
    matching
        .unmatched
        .extend(remaining.filter_map(|index| intervals[index].gap));
    matching.unmatched.sort_by_key(|gap| gap.to.shown.seq);
    matching
}
