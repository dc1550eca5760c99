//! The clock of a run.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A clock that counts nanoseconds since the run began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Returns an instant in nanoseconds of this clock; 0 for one before the run.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }
}

/// Returns the processor time that this process has used, in all threads.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}
