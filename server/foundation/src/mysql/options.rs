//! Options of the database.

use std::time::Duration;

use clap::Args;

use super::url::DatabaseUrls;
use crate::values::{at_least_two_seconds, duration};

/// Options of the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The database, as `mysql://user:password@host:3306/name`, or `mysql://user@localhost/name?socket=/path` for a
    /// Unix socket. Once for each host, or with commas between, if it has several: the one that takes writes is found,
    /// and followed when another takes over. Database and tables are created if they are absent
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        required = true,
        value_name = "URL"
    )]
    pub database_url: Vec<DatabaseUrls>,

    /// How long it may take.
    #[command(flatten)]
    pub timeouts: Timeouts,

    /// How long to wait at start for a database that is not up yet
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub startup_timeout: Duration,
}

impl DatabaseArgs {
    /// All hosts of the database.
    #[must_use]
    pub fn urls(&self) -> DatabaseUrls {
        let lists = self.database_url.iter();
        DatabaseUrls(lists.flat_map(|list| list.0.clone()).collect())
    }
}

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
