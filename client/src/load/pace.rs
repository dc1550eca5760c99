//! When the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Shared;

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

    /// Waits until the next request is due; gives when that was, or none if there is nothing more to send.
    pub(super) async fn next(&self, sent: u32, shared: &Shared) -> Option<u64> {
        let due_ns = match self.interval_ns {
            None => shared.clock.now(),
            Some(interval_ns) => self.start_ns.saturating_add(offset(
                interval_ns,
                self.taken.fetch_add(1, Ordering::Relaxed),
            )),
        };
        let over = match self.amount {
            Amount::Requests(requests) => sent >= requests,
            Amount::Time(time) => due_ns >= self.start_ns.saturating_add(nanoseconds(time)),
        };
        if over {
            return None;
        }
        shared.clock.sleep_until(due_ns).await;
        Some(due_ns)
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
