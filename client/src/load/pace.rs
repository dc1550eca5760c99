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
    /// In an open loop: how long after one request the next is due.
    interval_ns: Option<f64>,
    /// In an open loop: how many were given out. Whichever coroutine is free takes the next.
    taken: AtomicU64,
}

impl Pace {
    /// `rate` in requests a second makes an open loop.
    pub(super) fn new(start_ns: u64, amount: Amount, rate: Option<f64>) -> Self {
        let interval_ns = rate.map(|rate| 1e9 / rate);
        Self {
            start_ns,
            amount,
            interval_ns,
            taken: AtomicU64::new(0),
        }
    }

    /// Whether requests are due at set times.
    pub(super) fn is_open(&self) -> bool {
        self.interval_ns.is_some()
    }

    /// When the next request of a coroutine that has sent so many is due; none if there is nothing more to send.
    fn due(&self, sent: u32, clock: Clock) -> Option<u64> {
        if let Amount::Requests(requests) = self.amount
            && sent >= requests
        {
            return None;
        }
        let due_ns = match self.interval_ns {
            None => clock.now(),
            Some(interval_ns) => {
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                self.start_ns.saturating_add(offset(interval_ns, number))
            }
        };
        let over = match self.amount {
            Amount::Requests(_) => false,
            Amount::Time(time) => due_ns >= self.start_ns.saturating_add(nanoseconds(time)),
        };
        (!over).then_some(due_ns)
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
            () = shared.stopped() => None,
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
