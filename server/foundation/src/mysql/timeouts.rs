//! How long the database may take.

use std::time::Duration;

/// How long the database may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The longest time to connect.
    pub connect: Duration,
    /// The longest time for one answer.
    pub answer: Duration,
}

impl Timeouts {
    /// The longest wait for a lock, in seconds. Shorter than the time for an answer, because the database's report of a lock wait
    /// time-out leaves no doubt, while a lost connection does.
    ///
    /// A writer that holds the lock may be silent for as long: then the database rolls its transaction back, and the others go
    /// on. Longer than any pause of a healthy writer.
    #[must_use]
    pub fn wait_timeout_seconds(&self) -> u64 {
        (self.answer.as_secs() / 2).max(1)
    }

    /// How often an idle writer uses its connection, so that the database does not close it.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.wait_timeout_seconds()) / 3
    }
}
