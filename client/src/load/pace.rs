//! Decides when the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::timer::Timer;
use super::{Clock, Shared};

/// The amount of load of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// This many requests for each coroutine; in an open loop, on average.
    Requests(u32),
    /// All requests that become due in this time.
    Time(Duration),
}

/// The schedule of one part of a run. Times are nanoseconds of the run's clock.
#[derive(Debug)]
pub(super) struct Pace {
    start_ns: u64,
    amount: Amount,
    open: Option<OpenLoop>,
}

/// The schedule of an open loop: requests are due at fixed times, and the next free coroutine takes the next request, so that a
/// slow answer delays only its own coroutine.
#[derive(Debug)]
struct OpenLoop {
    /// The time between two requests.
    interval_ns: f64,
    coroutines: u32,
    /// How many requests the coroutines have taken.
    taken: AtomicU64,
}

impl Pace {
    /// Creates a closed loop: a coroutine's next request is due when the previous one is answered.
    pub(super) fn closed(start_ns: u64, amount: Amount) -> Self {
        Self {
            start_ns,
            amount,
            open: None,
        }
    }

    /// Creates an open loop: `rate` requests per second for all coroutines together.
    pub(super) fn open(start_ns: u64, amount: Amount, rate: f64, coroutines: u32) -> Self {
        Self {
            start_ns,
            amount,
            open: Some(OpenLoop {
                interval_ns: 1e9 / rate,
                coroutines,
                taken: AtomicU64::new(0),
            }),
        }
    }

    /// Returns when the next request of a coroutine is due that has sent `sent` in this phase; none if there are no more. In an
    /// open loop, takes the request.
    fn due(&self, sent: u32, clock: Clock) -> Option<u64> {
        let (due_ns, number, all) = match &self.open {
            None => (clock.now(), sent.into(), 1),
            Some(open) => {
                let number = open.taken.fetch_add(1, Ordering::Relaxed);
                let due_ns = self
                    .start_ns
                    .saturating_add(offset(open.interval_ns, number));
                (due_ns, number, open.coroutines.into())
            }
        };
        let has_more = match self.amount {
            Amount::Requests(requests) => number < u64::from(requests) * all,
            Amount::Time(time) => due_ns < self.start_ns.saturating_add(nanoseconds(time)),
        };
        has_more.then_some(due_ns)
    }

    /// Waits until the next request is due, and returns when that was; none if there are no more, or if a signal arrived.
    pub(super) async fn next(&self, sent: u32, timer: &mut Timer, shared: &Shared) -> Option<u64> {
        let due_ns = self.due(sent, shared.clock)?;
        let wait = Duration::from_nanos(due_ns.saturating_sub(shared.clock.now()));
        if wait.is_zero() {
            return Some(due_ns);
        }
        tokio::select! {
            () = timer.sleep(wait) => Some(due_ns),
            () = shared.stop.wait() => None,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a day has 2^47 nanoseconds, and the cast of a float saturates"
)]
fn offset(interval_ns: f64, number: u64) -> u64 {
    (interval_ns * number as f64) as u64
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_open_loop_the_free_coroutines_send_what_a_stalled_one_does_not() {
        let pace = Pace::open(5, Amount::Requests(10), 1e6, 4);
        let clock = Clock::start();
        let due: Vec<u64> = (0..).map_while(|sent| pace.due(sent, clock)).collect();
        let expected: Vec<u64> = (0..40).map(|number| 5 + 1000 * number).collect();
        assert_eq!(due, expected);
    }
}
