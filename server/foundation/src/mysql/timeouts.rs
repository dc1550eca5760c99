//! Time-outs of the database.

use std::time::Duration;

use clap::Args;

use crate::values::{at_least_two_seconds, duration};

/// How long the database may take.
#[derive(Debug, Clone, Copy, Args)]
pub struct Timeouts {
    /// How long connecting to the database may take. The addresses of a name share it
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "TIME")]
    pub connect_timeout: Duration,

    /// How long the database may take for one answer before the connection counts as lost. Half of it is the longest
    /// wait for a lock
    #[arg(long, default_value = "8s", value_parser = at_least_two_seconds, value_name = "TIME")]
    pub database_timeout: Duration,
}

impl Timeouts {
    /// The longest wait for a lock, in seconds. Shorter than the time for an answer, because the database's report of a lock wait
    /// time-out leaves no doubt, while a lost connection does.
    ///
    /// A writer that holds the lock may be silent for as long: then the database rolls its transaction back, and the others go
    /// on. Longer than any pause of a healthy writer.
    #[must_use]
    pub fn wait_timeout_seconds(&self) -> u64 {
        (self.database_timeout.as_secs() / 2).max(1)
    }

    /// How often an idle writer uses its connection, so that the database does not close it.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.wait_timeout_seconds()) / 3
    }
}
