//! R1 and R2: the order of numbers against the order of time, in one scan from the end of the log.

use super::facts::{Facts, indices};
use super::{Check, Findings, tell};
use crate::history::Op;

/// Whatever was sent after some message with a greater number had been answered is a violation. Equal instants are
/// concurrent. A request of unknown outcome may accuse nobody, as it has no end; but it can be accused, by where its
/// message appeared.
pub(super) fn check(facts: &Facts<'_>, findings: &mut Findings) {
    let mut later = Later::default();
    for (seq, op) in placed(facts).rev() {
        let request = facts.op(op);
        let accused = real_time(facts, &later, (seq, op), findings);
        if !accused {
            coroutine_order(facts, &later, (seq, op), findings);
        }
        if request.is_ok() {
            later.take(request, seq, op);
        }
    }
}

/// The requests with an order, by their numbers.
pub(super) fn placed<'a>(facts: &'a Facts<'_>) -> impl DoubleEndedIterator<Item = (u64, u32)> + 'a {
    indices(&facts.history.seen).filter_map(|seen| {
        let op = facts.author_of(seen)?;
        (facts.sound_place(op) == Some(seen)).then(|| (facts.seen(seen).shown.seq, op))
    })
}

/// The answered requests with greater numbers, as far as they matter.
#[derive(Debug, Default)]
struct Later {
    /// The one that was answered first: its end, number and index.
    earliest: Option<(u64, u64, u32)>,
    /// Of each coroutine the one that it sent first: its request, number and index.
    first_sent: Vec<Option<(u32, u64, u32)>>,
}

impl Later {
    fn take(&mut self, request: &Op, seq: u64, op: u32) {
        if self
            .earliest
            .is_none_or(|(end_ns, _, _)| request.end_ns < end_ns)
        {
            self.earliest = Some((request.end_ns, seq, op));
        }
        let coroutine = request.coroutine as usize;
        if self.first_sent.len() <= coroutine {
            self.first_sent.resize(coroutine + 1, None);
        }
        let first = &mut self.first_sent[coroutine];
        if first.is_none_or(|(number, _, _)| request.request < number) {
            *first = Some((request.request, seq, op));
        }
    }
}

/// R1. Gives whether this request is accused.
fn real_time(
    facts: &Facts<'_>,
    later: &Later,
    (seq, op): (u64, u32),
    findings: &mut Findings,
) -> bool {
    let start_ns = facts.op(op).start_ns;
    let Some((end_ns, witness_seq, witness)) =
        later.earliest.filter(|(end_ns, _, _)| start_ns > *end_ns)
    else {
        return false;
    };
    findings.add(Check::RealTime, witness_seq - seq, || {
        let story = format!(
            "{}\nA was answered {} before B was sent, so seq(A) < seq(B); but A has {witness_seq} and B has {seq}: a contradiction.",
            tell::pair(facts, witness, op),
            tell::milliseconds(start_ns - end_ns),
        );
        (vec![witness, op], story)
    });
    true
}

/// R2: what R1 cannot see, as the clock stood still between two requests of one coroutine.
fn coroutine_order(
    facts: &Facts<'_>,
    later: &Later,
    (seq, op): (u64, u32),
    findings: &mut Findings,
) {
    let request = facts.op(op);
    let first = later
        .first_sent
        .get(request.coroutine as usize)
        .copied()
        .flatten();
    if let Some((_, high, witness)) = first.filter(|first| first.0 < request.request) {
        findings.add(Check::CoroutineOrder, high - seq, || {
            let story = format!(
                "{}\nOne coroutine sent B after A was answered, so seq(A) < seq(B); but A has {high} and B has {seq}: a contradiction.",
                tell::pair(facts, witness, op)
            );
            (vec![witness, op], story)
        });
    }
}
