//! R1 and R2: the order of numbers against the order of time.

use super::facts::{Facts, indices};
use super::{Check, Findings, tell};

pub(super) fn check(facts: &Facts<'_>, findings: &mut Findings) {
    let mut placed: Vec<(u64, u32)> = indices(&facts.history.ops)
        .filter_map(|op| {
            facts
                .sound_place(op)
                .map(|place| (facts.seen(place).shown.seq, op))
        })
        .collect();
    placed.sort_unstable();
    let accused = real_time(facts, &placed, findings);
    coroutine_order(facts, placed, &accused, findings);
}

/// R1, in one scan from the end: whatever was sent after some message with a greater number had been answered is a
/// violation. Equal instants are concurrent. A request of unknown outcome may accuse nobody, as it has no end; but it can
/// be accused, by where its message appeared. Gives the accused.
fn real_time(facts: &Facts<'_>, placed: &[(u64, u32)], findings: &mut Findings) -> Vec<u32> {
    let mut accused = Vec::new();
    let mut earliest: Option<(u64, u64, u32)> = None;
    for (seq, op) in placed.iter().rev() {
        let request = facts.op(*op);
        if let Some((end_ns, witness_seq, witness)) =
            earliest.filter(|(end_ns, _, _)| request.start_ns > *end_ns)
        {
            accused.push(*op);
            let distance = witness_seq - seq;
            findings.add(Check::RealTime, distance, || {
                let story = format!(
                    "{}\nA was answered {} before B was sent, so seq(A) < seq(B); but A has {witness_seq} and B has {seq}: a contradiction.",
                    tell::pair(facts, witness, *op),
                    tell::milliseconds(request.start_ns - end_ns),
                );
                (vec![witness, *op], story)
            });
        }
        if request.is_ok() && earliest.is_none_or(|(end_ns, _, _)| request.end_ns < end_ns) {
            earliest = Some((request.end_ns, *seq, *op));
        }
    }
    accused.sort_unstable();
    accused
}

/// R2: what R1 cannot see, as the clock stood still between two requests of one coroutine.
fn coroutine_order(
    facts: &Facts<'_>,
    mut placed: Vec<(u64, u32)>,
    accused: &[u32],
    findings: &mut Findings,
) {
    placed.sort_unstable_by_key(|(_, op)| {
        let op = facts.op(*op);
        (op.coroutine, op.phase as u8, op.request)
    });
    let mut highest: Option<(u64, u32)> = None;
    for (seq, op) in placed {
        let request = facts.op(op);
        let before = highest.filter(|(_, before)| facts.op(*before).coroutine == request.coroutine);
        match before {
            Some((high, witness)) if high > seq => {
                if accused.binary_search(&op).is_err() {
                    findings.add(Check::CoroutineOrder, high - seq, || {
                        let story = format!(
                            "{}\nOne coroutine sent B after A was answered, so seq(A) < seq(B); but A has {high} and B has {seq}: a contradiction.",
                            tell::pair(facts, witness, op)
                        );
                        (vec![witness, op], story)
                    });
                }
            }
            _ if request.is_ok() => highest = Some((seq, op)),
            _ => highest = before,
        }
    }
}
