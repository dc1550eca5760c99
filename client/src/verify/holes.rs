//! G7 and G9: what nobody saw. Where many answers in a row are missing, numbers go unseen, and so do the messages that had
//! them. All that is known of such a message: it was sent by a request of unknown outcome, it comes after whatever was
//! answered before it was sent, and its user's numbers leave room for it. So the numbers without a message and the messages
//! without a number must be matched: each number needs a message (G7), and each message that a user's numbers count needs
//! a number (G9). If each of the two can be done, then both can at once (Mendelsohn and Dulmage, 1958).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::facts::{Facts, indices};
use super::numbering::{Counters, Jump};
use super::{Check, Findings, tell, time};
use crate::history::{NONE, Op, Outcome, Seen};

/// Runs after all other checks, as it takes what they found for no second fault.
pub(super) fn check(facts: &Facts<'_>, counters: &Counters<'_>, findings: &mut Findings) {
    let holes = holes(facts, findings);
    // Others, or requests that the history misses, may be anywhere.
    if facts.history.setting.shared || facts.history.cut || holes.is_empty() {
        return;
    }
    let fillers = fillers(facts, !findings.has(Check::RealTime));
    in_time(facts, &holes, &fillers, findings);
    // A hole is counted for somebody: that is no second fault.
    if findings.has(Check::NoHole) {
        return;
    }
    let rooms = rooms(counters, &fillers);
    counted(facts, &holes, &rooms, findings);
    if !findings.has(Check::Counters) {
        filled(facts, &holes, &rooms, findings);
    }
}

/// Numbers in a row that no reply shows: the messages on both sides.
type Hole<'a> = (&'a Seen, &'a Seen);

/// G7, where a reply spans a hole; gives the others.
fn holes<'a>(facts: &Facts<'a>, findings: &mut Findings) -> Vec<Hole<'a>> {
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
                findings.add(Check::NoHole, after - before - 1, || {
                    let story = format!(
                        "{}\nIts reply shows {after} right after {before}, and no reply shows what is between.",
                        tell::single(facts, *op)
                    );
                    (vec![*op], story)
                });
            }
            _ => holes.push((&pair[0], &pair[1])),
        }
    }
    holes
}

/// A request whose message may be stored without having been shown.
#[derive(Debug, Clone, Copy)]
struct Filler {
    user: u32,
    /// The greatest number that was answered before it was sent: its own is greater.
    after: u64,
}

/// All of them, by the numbers after which they are. Without an order, they may be anywhere.
fn fillers(facts: &Facts<'_>, is_ordered: bool) -> Vec<Filler> {
    let mut by_start: Vec<&Op> = indices(&facts.history.ops)
        .filter(|op| may_fill(facts, *op))
        .map(|op| facts.op(op))
        .collect();
    by_start.sort_unstable_by_key(|op| op.start_ns);
    let mut fillers = Vec::with_capacity(by_start.len());
    let mut take = |op: &Op, after| {
        fillers.push(Filler {
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
    fillers.sort_unstable_by_key(|filler| (filler.after, filler.user));
    fillers
}

fn may_fill(facts: &Facts<'_>, op: u32) -> bool {
    let request = facts.op(op);
    let open = match request.outcome {
        Outcome::Ok => request.seq == 0,
        Outcome::Unknown(_) => true,
        Outcome::Failed(_) => false,
    };
    open && facts.place[op as usize] == NONE
}

/// G7, by time alone: up to each number, no more may be unseen than requests could be there.
fn in_time(facts: &Facts<'_>, holes: &[Hole<'_>], fillers: &[Filler], findings: &mut Findings) {
    let mut open: u64 = 0;
    let mut worst: Option<(u64, u64, usize, &Seen)> = None;
    for (before, after) in holes {
        open = open.saturating_add(after.shown.seq - before.shown.seq - 1);
        let sent = fillers.partition_point(|filler| filler.after < after.shown.seq);
        let excess = open.saturating_sub(sent as u64);
        if excess > worst.map_or(0, |(worst, ..)| worst) {
            worst = Some((excess, open, sent, after));
        }
    }
    if let Some((excess, open, sent, after)) = worst {
        findings.add(Check::NoHole, excess, || {
            let story = format!(
                "{}\nIts reply shows seq {}. Of the numbers before, {open} are shown by no reply; but only {sent} requests have an unknown outcome and could be there.",
                tell::single(facts, after.witness),
                after.shown.seq
            );
            (vec![after.witness], story)
        });
    }
}

/// Where a message that nobody saw may be.
#[derive(Debug, Clone, Copy)]
struct Room<'a> {
    after: u64,
    before: u64,
    /// The numbers that prove that it was stored. Without them, it may as well be nowhere.
    jump: Option<&'a Jump<'a>>,
}

/// For each user as many as messages may be unseen. Which of a user's requests they are is open: the best is that they
/// were stored in the order in which they were sent.
fn rooms<'a>(counters: &'a Counters<'a>, fillers: &[Filler]) -> Vec<Room<'a>> {
    let mut sent: HashMap<u32, Vec<u64>> = HashMap::new();
    for filler in fillers {
        sent.entry(filler.user).or_default().push(filler.after);
    }
    let counter = |user: u32| counters.users.get(user as usize);
    let mut taken: HashMap<u32, usize> = HashMap::new();
    let mut rooms = Vec::new();
    for jump in &counters.jumps {
        let user = jump.to.shown.user;
        if counter(user).is_some_and(|counter| counter.broken) {
            continue;
        }
        let from = jump.from.map_or(0, |from| from.shown.seq);
        let sent = sent.get(&user).map_or(&[][..], Vec::as_slice);
        let taken = taken.entry(user).or_default();
        for _ in 0..jump.unseen {
            rooms.push(Room {
                after: sent.get(*taken).map_or(u64::MAX, |sent| from.max(*sent)),
                before: jump.to.shown.seq,
                jump: Some(jump),
            });
            *taken += 1;
        }
    }
    for (user, sent) in sent {
        let counter = counter(user).cloned().unwrap_or_default();
        let taken = taken.get(&user).copied().unwrap_or(0).min(sent.len());
        let last = counter.last.filter(|_| !counter.broken);
        let last = last.map_or(0, |last| last.shown.seq);
        let room = |after: u64, before: u64| Room {
            after,
            before,
            jump: None,
        };
        rooms.extend(
            sent[taken..]
                .iter()
                .map(|sent| room(last.max(*sent), u64::MAX)),
        );
        // Nobody knows how many of them come before the user's first message that was shown.
        if let Some(first) = counter.first.filter(|_| !counter.broken) {
            rooms.extend(sent.iter().map(|sent| room(*sent, first.shown.seq)));
        }
    }
    rooms
}

/// G9. What was counted and never shown must be somebody's unknown message, and have a number.
fn counted(facts: &Facts<'_>, holes: &[Hole<'_>], rooms: &[Room<'_>], findings: &mut Findings) {
    let due: Vec<Room<'_>> = rooms
        .iter()
        .copied()
        .filter(|room| room.jump.is_some())
        .collect();
    let missed = fill(holes, due).missed;
    for jumps in missed.chunk_by(|one, other| std::ptr::eq(*one, *other)) {
        findings.add(Check::Counters, jumps.len() as u64, || {
            nowhere(facts, jumps[0], jumps.len())
        });
    }
}

fn nowhere(facts: &Facts<'_>, jump: &Jump<'_>, missed: usize) -> (Vec<u32>, String) {
    let Jump { from, to, unseen } = jump;
    let end = format!(
        "So {unseen} messages of this user are before it that no reply shows; but for {missed} of them no number is free, or no request of unknown outcome was sent."
    );
    let Some(from) = from else {
        let story = format!(
            "{}\nIts reply shows {}: the user's first one that is shown.\n{end}",
            tell::single(facts, to.witness),
            tell::message(facts, &to.shown),
        );
        return (vec![to.witness], story);
    };
    let story = format!(
        "{}\nA's reply shows {}\nB's reply shows {}\n{end}",
        tell::pair(facts, from.witness, to.witness),
        tell::message(facts, &from.shown),
        tell::message(facts, &to.shown),
    );
    (vec![from.witness, to.witness], story)
}

/// G7, by users: a number is nobody's if all who could have it were counted on without it.
fn filled(facts: &Facts<'_>, holes: &[Hole<'_>], rooms: &[Room<'_>], findings: &mut Findings) {
    if let Some((seq, after)) = fill(holes, rooms.to_vec()).empty {
        findings.add(Check::NoHole, 1, || {
            let story = format!(
                "{}\nIts reply shows seq {}. No reply shows seq {seq}; and of each request of unknown outcome that could be there, the user was counted on without it.",
                tell::single(facts, after.witness),
                after.shown.seq,
            );
            (vec![after.witness], story)
        });
    }
}

/// What was left over when the holes were filled.
#[derive(Debug, Default)]
struct Filled<'a> {
    /// The first number without a message.
    empty: Option<(u64, &'a Seen)>,
    /// The counted messages without a number, in the order of the log.
    missed: Vec<&'a Jump<'a>>,
}

/// Gives each number to the message whose room ends first, of those that may be there. This fills all holes, and leaves no
/// message out, if any way does.
fn fill<'a>(holes: &[Hole<'a>], mut rooms: Vec<Room<'a>>) -> Filled<'a> {
    let mut filled = Filled::default();
    rooms.sort_unstable_by_key(|room| room.after);
    let mut begun = 0;
    let mut open = BinaryHeap::new();
    for (before, after) in holes {
        for seq in before.shown.seq + 1..after.shown.seq {
            while let Some(room) = rooms.get(begun).filter(|room| room.after < seq) {
                open.push(Reverse((room.before, begun)));
                begun += 1;
            }
            let mut taken = open.pop();
            while let Some(Reverse((_, late))) = taken.filter(|Reverse((end, _))| *end < seq) {
                filled.missed.extend(rooms[late].jump);
                taken = open.pop();
            }
            if taken.is_none() {
                filled.empty.get_or_insert((seq, *after));
            }
        }
    }
    let left = open.into_iter().map(|Reverse((_, left))| left);
    let left = left.chain(begun..rooms.len());
    filled
        .missed
        .extend(left.filter_map(|left| rooms[left].jump));
    filled.missed.sort_by_key(|jump| jump.to.shown.seq);
    filled
}
