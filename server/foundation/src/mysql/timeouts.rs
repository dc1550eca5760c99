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
    /// How long to wait for the lock, in seconds. Shorter than for an answer: an answer that says that the wait is
    /// over leaves no doubt, a lost connection does.
    ///
    /// A writer may hold the lock without a word for as long: after this the database rolls it back, and the others go on. Longer
    /// than any pause of a healthy writer.
    #[must_use]
    pub fn wait_timeout_seconds(&self) -> u64 {
        (self.answer.as_secs() / 2).max(1)
    }

    /// How often a writer without work speaks, so that its connection is kept.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.wait_timeout_seconds()) / 3
    }
}
