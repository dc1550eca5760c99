//! When the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::timer::Timer;
use super::{Clock, Shared};

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// By each coroutine.
    Requests(u32),
    /// By all, as much as they can.
    Time(Duration),
}

/// The timetable of one part of a run. Times are nanoseconds of the run's clock.
#[derive(Debug)]
pub(super) struct Pace {
    start_ns: u64,
    amount: Amount,
    open: Option<OpenLoop>,
}

/// Requests are due at set times, and whichever coroutine is free takes the next: a slow answer holds up its own coroutine
/// alone.
#[derive(Debug)]
struct OpenLoop {
    /// How long after one request the next is due.
    interval_ns: f64,
    coroutines: u32,
    /// How many were given out.
    taken: AtomicU64,
}

impl Pace {
    /// A coroutine's next request is due when the one before is answered.
    pub(super) fn closed(start_ns: u64, amount: Amount) -> Self {
        Self {
            start_ns,
            amount,
            open: None,
        }
    }

    /// So many requests a second over all coroutines.
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

    /// Whether requests are due at set times.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the next request of a coroutine that has sent so many is due; none if there is nothing more to send.
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
        let more = match self.amount {
            Amount::Requests(requests) => number < u64::from(requests) * all,
            Amount::Time(time) => due_ns < self.start_ns.saturating_add(nanoseconds(time)),
        };
        more.then_some(due_ns)
    }

    /// Waits until the next request is due; gives when that was, or none if nothing more is to be sent.
    pub(super) async fn next(
        &self,
        sent: u32,
        timer: &mut Option<Timer>,
        shared: &Shared,
    ) -> Option<u64> {
        let due_ns = self.due(sent, shared.clock)?;
        let wait = Duration::from_nanos(due_ns.saturating_sub(shared.clock.now()));
        if wait.is_zero() {
            return Some(due_ns);
        }
        let asleep = async {
            let precise = match timer {
                Some(timer) => timer.sleep(wait).await.is_ok(),
                None => false,
            };
            if !precise {
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            () = asleep => Some(due_ns),
            () = shared.stop.asked() => None,
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
        let timetable: Vec<u64> = (0..40).map(|number| 5 + 1000 * number).collect();
        assert_eq!(due, timetable);
    }
}
