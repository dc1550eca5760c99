//! Checks the order of numbers against real time (R1 and R2), in one scan from the end of the log.

use super::facts::{Facts, indices};
use super::{Check, Violations, explain};
use crate::history::Op;

/// Checks all requests that have a number. A request that was sent after the answer to a message with a greater number is a
/// violation. Requests at equal instants are concurrent. A request of unknown outcome proves nothing about others, because it has
/// no end; but it can itself be a violation, by the number at which its message appeared.
pub(super) fn check(facts: &Facts<'_>, violations: &mut Violations<'_>) {
    let mut later = LaterRequests::default();
    for (seq, op) in numbered(facts).rev() {
        let request = facts.op(op);
        let is_violation = check_real_time(facts, &later, (seq, op), violations);
        if !is_violation {
            check_coroutine_order(facts, &later, (seq, op), violations);
        }
        if request.is_ok() {
            later.add(request, seq, op);
        }
    }
}

/// Returns the requests whose messages have a reliable number, sorted by it: number and request.
pub(super) fn numbered<'a>(
    facts: &'a Facts<'_>,
) -> impl DoubleEndedIterator<Item = (u64, u32)> + 'a {
    indices(&facts.history.seen).filter_map(|seen| {
        let op = facts.author_of(seen)?;
        (facts.reliable_place(op) == Some(seen)).then(|| (facts.seen(seen).shown.seq, op))
    })
}

/// The answered requests with greater numbers that can contradict a request.
#[derive(Debug, Default)]
struct LaterRequests {
    /// The request that was answered first: its end, number and index.
    earliest: Option<(u64, u64, u32)>,
    /// The request that each coroutine sent first: its request, number and index.
    first_sent: Vec<Option<(u32, u64, u32)>>,
}

impl LaterRequests {
    fn add(&mut self, request: &Op, seq: u64, op: u32) {
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

/// Checks one request against all with greater numbers (R1); returns whether it is a violation.
fn check_real_time(
    facts: &Facts<'_>,
    later: &LaterRequests,
    (seq, op): (u64, u32),
    violations: &mut Violations<'_>,
) -> bool {
    let start_ns = facts.op(op).start_ns;
    let Some((end_ns, witness_seq, witness)) =
        later.earliest.filter(|(end_ns, _, _)| start_ns > *end_ns)
    else {
        return false;
    };
    violations.add(Check::RealTime, witness_seq - seq, &[witness, op], || {
        let before = explain::milliseconds(start_ns - end_ns);
        format!(
            "A was answered {before} before B was sent, so seq(A) < seq(B); but A has {witness_seq} and B has {seq}: a contradiction."
        )
    });
    true
}

/// Checks one request against those of its coroutine with greater numbers (R2). This finds what R1 cannot if the clock did not
/// advance between two requests.
fn check_coroutine_order(
    facts: &Facts<'_>,
    later: &LaterRequests,
    (seq, op): (u64, u32),
    violations: &mut Violations<'_>,
) {
    let request = facts.op(op);
    let first = later
        .first_sent
        .get(request.coroutine as usize)
        .copied()
        .flatten();
    if let Some((_, high, witness)) = first.filter(|first| first.0 < request.request) {
        violations.add(Check::CoroutineOrder, high - seq, &[witness, op], || {
            format!(
                "One coroutine sent B after A was answered, so seq(A) < seq(B); but A has {high} and B has {seq}: a contradiction."
            )
        });
    }
}
