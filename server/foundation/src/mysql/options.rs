//! Options of the database.

use std::time::Duration;

use clap::Args;

use super::timeouts::Timeouts;
use super::url::DatabaseUrls;
use crate::values::duration;

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
