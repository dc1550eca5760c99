//! Options of the messenger, beside those of every server.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use foundation::config::{HttpArgs, LogArgs, at_least_one, duration};

use crate::store::DatabaseUrls;
use crate::writer::WriterLimits;
use crate::{BUILD, VERSION};

/// The DummyMessenger server. Numbers and stores messages in one order; any number of these may share a database.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), next_line_help = false)]
pub struct Config {
    /// Options of the edge.
    #[command(flatten)]
    pub http: HttpArgs,

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

    /// Most messages that wait for the database; more are refused with 503
    #[arg(long, default_value_t = 4096, value_parser = at_least_one, value_name = "COUNT")]
    pub queue_messages: usize,

    /// Most messages in one transaction, up to 900
    #[arg(long, default_value_t = 256, value_parser = batch_size, value_name = "COUNT")]
    pub batch_messages: usize,

    /// Bytes of users and texts that end a batch
    #[arg(long, default_value_t = 1 << 20, value_parser = at_least_one, value_name = "BYTES")]
    pub batch_bytes: usize,

    /// How long connecting to the database may take. The addresses of a name share it
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "TIME")]
    pub connect_timeout: Duration,

    /// How long the database may take for one answer before the connection counts as lost. Half of it is the longest
    /// wait for the lock
    #[arg(long, default_value = "8s", value_parser = at_least_two_seconds, value_name = "TIME")]
    pub database_timeout: Duration,

    /// How long to wait at start for a database that is not up yet
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub startup_timeout: Duration,

    /// Options of the log.
    #[command(flatten)]
    pub log: LogArgs,
}

impl Config {
    /// All hosts of the database.
    #[must_use]
    pub fn database_urls(&self) -> DatabaseUrls {
        self.database_url.iter().cloned().collect()
    }

    /// Logs what is in effect, each option by its name. The database's URLs show themselves without passwords.
    pub fn log(&self) {
        let Self {
            http,
            database_url: _,
            queue_messages,
            batch_messages,
            batch_bytes,
            connect_timeout,
            database_timeout,
            startup_timeout,
            log,
        } = self;
        let HttpArgs {
            listen,
            workers,
            body_limit,
            request_timeout,
            idle_timeout,
            send_timeout,
            shutdown_timeout,
        } = http;
        let LogArgs {
            log_level,
            log_format,
        } = log;
        tracing::info!(
            version = VERSION,
            build = BUILD,
            %listen,
            database_url = %self.database_urls(),
            workers,
            queue_messages,
            batch_messages,
            batch_bytes,
            body_limit,
            ?request_timeout,
            ?idle_timeout,
            ?send_timeout,
            ?connect_timeout,
            ?database_timeout,
            ?startup_timeout,
            ?shutdown_timeout,
            log_level = name(log_level),
            log_format = name(log_format),
            "starting"
        );
    }

    /// What the writer needs of it.
    #[must_use]
    pub fn writer_limits(&self) -> WriterLimits {
        WriterLimits {
            queue_messages: self.queue_messages,
            batch_messages: self.batch_messages,
            batch_bytes: self.batch_bytes,
        }
    }

    /// What the database connections need of it.
    #[must_use]
    pub fn database_timeouts(&self) -> crate::store::Timeouts {
        crate::store::Timeouts {
            connect: self.connect_timeout,
            answer: self.database_timeout,
        }
    }
}

fn name(value: &impl ValueEnum) -> Option<String> {
    let value = value.to_possible_value()?;
    Some(value.get_name().to_owned())
}

fn at_least_two_seconds(text: &str) -> Result<Duration, String> {
    // The database counts the wait for a lock in whole seconds.
    duration(text).and_then(|duration| match duration {
        short if short < Duration::from_secs(2) => Err("must be at least 2s".to_owned()),
        enough => Ok(enough),
    })
}

/// `MariaDB` makes a table of a list of 1,000 values or more (`in_predicate_conversion_threshold`), and then does not lock
/// the counters in their order.
const LARGEST_BATCH: usize = 900;

fn batch_size(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|size| match size {
        too_many if too_many > LARGEST_BATCH => Err(format!("must be at most {LARGEST_BATCH}")),
        fine => Ok(fine),
    })
}
