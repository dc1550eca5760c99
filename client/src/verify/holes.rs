//! G7 and G9: what nobody saw. Where many answers in a row are missing, numbers go unseen, and so do the messages that had
//! them. All that is known of such a message: it was sent by a request of unknown outcome, it comes after whatever was
//! answered before it was sent, and its user's numbers leave room for it. So the numbers without a message and the messages
//! without a number must be matched: each number needs a message (G7), and each message that a user's numbers count needs
//! a number (G9). If each of the two can be done, then both can at once (Mendelsohn and Dulmage, 1958).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::facts::{Facts, indices};
use super::numbering::{Counters, UserSeqGap};
use super::{Check, Violations, explain, time};
use crate::history::{NONE, Op, Outcome, Seen};

/// Checks what no reply shows, after all other checks, as what these found is no second fault.
pub(super) fn check(facts: &Facts<'_>, counters: &Counters<'_>, violations: &mut Violations<'_>) {
    let holes = holes(facts, violations);
    // Others, or requests that the history misses, may be anywhere.
    if facts.history.settings.shared || facts.history.cut || holes.is_empty() {
        return;
    }
    let candidates = candidates(facts, !violations.has(Check::RealTime));
    check_time(&holes, &candidates, violations);
    // A hole is counted for somebody: that is no second fault.
    if violations.has(Check::NoHole) {
        return;
    }
    let intervals = intervals(counters, &candidates);
    check_counters(facts, &holes, &intervals, violations);
    if !violations.has(Check::Counters) {
        check_users(&holes, &intervals, violations);
    }
}

/// A hole, which is numbers in a row that no reply shows: the messages on both sides.
type Hole<'a> = (&'a Seen, &'a Seen);

/// Accuses the holes that a reply spans (G7); returns the others.
fn holes<'a>(facts: &Facts<'a>, violations: &mut Violations<'_>) -> Vec<Hole<'a>> {
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

/// A request whose message may be stored without having been shown.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    user: u32,
    /// The greatest number that was answered before it was sent: its own is greater.
    after: u64,
}

/// Returns all candidates, by the numbers after which they are. Without an order, they may be anywhere.
fn candidates(facts: &Facts<'_>, is_ordered: bool) -> Vec<Candidate> {
    let mut by_start: Vec<&Op> = indices(&facts.history.ops)
        .filter(|op| is_candidate(facts, *op))
        .map(|op| facts.op(op))
        .collect();
    by_start.sort_unstable_by_key(|op| op.start_ns);
    let mut candidates = Vec::with_capacity(by_start.len());
    let mut take = |op: &Op, after| {
        candidates.push(Candidate {
            user: op.user,
            after,
        });
    };
    // Down the log, as R1 goes: of the answered messages that a request must come after, the first one found is the last.
    let placed = time::placed(facts).rev().filter(|_| is_ordered);
    for (seq, op) in placed {
        let answered = facts.op(op);
        let is_later = |op: &mut &Op| answered.is_ok() && op.start_ns > answered.end_ns;
        while let Some(op) = by_start.pop_if(is_later) {
            take(op, seq);
        }
    }
    for op in by_start {
        take(op, 0);
    }
    candidates.sort_unstable_by_key(|candidate| (candidate.after, candidate.user));
    candidates
}

fn is_candidate(facts: &Facts<'_>, op: u32) -> bool {
    let request = facts.op(op);
    let open = match request.outcome {
        Outcome::Ok => request.seq == 0,
        Outcome::Unknown(_) => true,
        Outcome::Failed(_) => false,
    };
    open && facts.place[op as usize] == NONE
}

/// Checks holes by time alone (G7): up to each number, no more may be unseen than requests could be there.
fn check_time(holes: &[Hole<'_>], candidates: &[Candidate], violations: &mut Violations<'_>) {
    let mut open: u64 = 0;
    let mut worst: Option<(u64, u64, usize, &Seen)> = None;
    for (before, after) in holes {
        open = open.saturating_add(after.shown.seq - before.shown.seq - 1);
        let sent = candidates.partition_point(|candidate| candidate.after < after.shown.seq);
        let excess = open.saturating_sub(sent as u64);
        if excess > worst.map_or(0, |(worst, ..)| worst) {
            worst = Some((excess, open, sent, after));
        }
    }
    if let Some((excess, open, sent, after)) = worst {
        violations.add(Check::NoHole, excess, &[after.witness], || {
            format!(
                "Its reply shows seq {}. Of the numbers before, {open} are shown by no reply; but only {sent} requests have an unknown outcome and could be there.",
                after.shown.seq
            )
        });
    }
}

/// The interval of numbers in which a message that nobody saw may be.
#[derive(Debug, Clone, Copy)]
struct Interval<'a> {
    after: u64,
    before: u64,
    /// The gap in the user's numbers which proves that it was stored. Without one, it may as well be nowhere.
    gap: Option<&'a UserSeqGap<'a>>,
}

/// Returns for each user as many intervals as messages may be unseen. Which of a user's requests they are is open: the
/// best is that they were stored in the order in which they were sent.
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
        // Nobody knows how many of them come before the user's first message that was shown.
        if let Some(first) = counter.first.filter(|_| !counter.broken) {
            intervals.extend(sent.iter().map(|sent| interval(*sent, first.shown.seq)));
        }
    }
    intervals
}

/// Checks that what was counted and never shown can be somebody's unknown message, and have a number (G9).
fn check_counters(
    facts: &Facts<'_>,
    holes: &[Hole<'_>],
    intervals: &[Interval<'_>],
    violations: &mut Violations<'_>,
) {
    let due: Vec<Interval<'_>> = intervals
        .iter()
        .copied()
        .filter(|interval| interval.gap.is_some())
        .collect();
    let missed = match_all(holes, due).missed;
    for gaps in missed.chunk_by(|one, other| std::ptr::eq(*one, *other)) {
        let (UserSeqGap { from, to, unseen }, missed) = (gaps[0], gaps.len());
        let ops: Vec<u32> = from.iter().chain([to]).map(|seen| seen.witness).collect();
        violations.add(Check::Counters, missed as u64, &ops, || {
            let shown = match from {
                Some(from) => explain::shown_by_both(facts, from, to),
                None => format!(
                    "Its reply shows {}: the user's first one that is shown.\n",
                    explain::message(facts, &to.shown)
                ),
            };
            format!(
                "{shown}So {unseen} messages of this user are before it that no reply shows; but for {missed} of them no number is free, or no request of unknown outcome was sent."
            )
        });
    }
}

/// Checks holes by users (G7): a number is nobody's if all who could have it were counted on without it.
fn check_users(holes: &[Hole<'_>], intervals: &[Interval<'_>], violations: &mut Violations<'_>) {
    if let Some((seq, after)) = match_all(holes, intervals.to_vec()).empty {
        violations.add(Check::NoHole, 1, &[after.witness], || {
            format!(
                "Its reply shows seq {}. No reply shows seq {seq}; and of each request of unknown outcome that could be there, the user was counted on without it.",
                after.shown.seq,
            )
        });
    }
}

/// The rest that is left over when the holes and the messages are matched.
#[derive(Debug, Default)]
struct Matching<'a> {
    /// The first number without a message, and the message after its hole.
    empty: Option<(u64, &'a Seen)>,
    /// The gaps whose messages have no number, in the order of the log.
    missed: Vec<&'a UserSeqGap<'a>>,
}

/// Gives each number to the message whose interval ends first, of those that may be there. This fills all holes, and
/// leaves no message out, if any way does.
fn match_all<'a>(holes: &[Hole<'a>], mut intervals: Vec<Interval<'a>>) -> Matching<'a> {
    let mut matching = Matching::default();
    intervals.sort_unstable_by_key(|interval| interval.after);
    let mut begun = 0;
    let mut open = BinaryHeap::new();
    for (before, after) in holes {
        for seq in before.shown.seq + 1..after.shown.seq {
            while let Some(interval) = intervals.get(begun).filter(|interval| interval.after < seq)
            {
                open.push(Reverse((interval.before, begun)));
                begun += 1;
            }
            let mut taken = open.pop();
            while let Some(Reverse((_, late))) = taken.filter(|Reverse((end, _))| *end < seq) {
                matching.missed.extend(intervals[late].gap);
                taken = open.pop();
            }
            if taken.is_none() {
                matching.empty.get_or_insert((seq, *after));
            }
        }
    }
    let left = open.into_iter().map(|Reverse((_, left))| left);
    let left = left.chain(begun..intervals.len());
    matching
        .missed
        .extend(left.filter_map(|left| intervals[left].gap));
    matching.missed.sort_by_key(|gap| gap.to.shown.seq);
    matching
}
