//! Options, each from a flag or from the environment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::http::EdgeLimits;
use crate::log::{LogFormat, LogLevel};
use crate::store::DatabaseUrls;
use crate::writer::WriterLimits;
use crate::{BUILD, VERSION};

/// The DummyMessenger server. Numbers and stores messages in one order; any number of these may share a database.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), next_line_help = false)]
pub struct Config {
    /// Address to listen on. Anything but loopback opens the server to the network; it has no authentication
    #[arg(
        long,
        env = "LISTEN",
        default_value = "127.0.0.1:8001",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

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

    /// Most threads of each of four kinds: for reading long bodies, for asking the database for pages, for writing replies,
    /// and for the rest of bodies that were refused. They are started as they are needed
    #[arg(long, env = "WORKERS", default_value_t = 256, value_parser = at_least_one, value_name = "COUNT")]
    pub workers: usize,

    /// Most messages that wait for the database; more are refused with 503
    #[arg(long, env = "QUEUE_MESSAGES", default_value_t = 4096, value_parser = at_least_one, value_name = "COUNT")]
    pub queue_messages: usize,

    /// Most messages in one transaction, up to 900
    #[arg(long, env = "BATCH_MESSAGES", default_value_t = 256, value_parser = batch_size, value_name = "COUNT")]
    pub batch_messages: usize,

    /// Bytes of users and texts that end a batch
    #[arg(long, env = "BATCH_BYTES", default_value_t = 1 << 20, value_parser = at_least_one, value_name = "BYTES")]
    pub batch_bytes: usize,

    /// Largest body of a request; more is refused with 413
    #[arg(long, env = "BODY_LIMIT", default_value_t = 64 << 10, value_parser = at_least_one, value_name = "BYTES")]
    pub body_limit: usize,

    /// How long a message may wait and be tried again before its caller is told 503 (not stored) or 504 (not known). An
    /// attempt that is under way then is waited for
    #[arg(long, env = "REQUEST_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub request_timeout: Duration,

    /// How long a connection may be silent, between requests or within one, before it is closed
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,

    /// How long a caller may take to accept a reply as a whole before its connection is dropped
    #[arg(long, env = "SEND_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub send_timeout: Duration,

    /// How long connecting to the database may take. The addresses of a name share it
    #[arg(long, env = "CONNECT_TIMEOUT", default_value = "3s", value_parser = duration, value_name = "TIME")]
    pub connect_timeout: Duration,

    /// How long the database may take for one answer before the connection counts as lost. Half of it is the longest
    /// wait for the lock
    #[arg(long, env = "DATABASE_TIMEOUT", default_value = "8s", value_parser = at_least_two_seconds, value_name = "TIME")]
    pub database_timeout: Duration,

    /// How long to wait at start for a database that is not up yet
    #[arg(long, env = "STARTUP_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub startup_timeout: Duration,

    /// How long to finish what was taken, after SIGTERM or SIGINT
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub shutdown_timeout: Duration,

    /// What to log, to stderr
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: LogLevel,

    /// For people, or one JSON object a line
    #[arg(
        long,
        env = "LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
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
            listen,
            database_url: _,
            workers,
            queue_messages,
            batch_messages,
            batch_bytes,
            body_limit,
            request_timeout,
            idle_timeout,
            send_timeout,
            connect_timeout,
            database_timeout,
            startup_timeout,
            shutdown_timeout,
            log_level,
            log_format,
        } = self;
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

    /// What the edge needs of it.
    #[must_use]
    pub fn edge_limits(&self) -> EdgeLimits {
        EdgeLimits {
            body: self.body_limit,
            workers: self.workers,
            request_timeout: self.request_timeout,
            shutdown_timeout: self.shutdown_timeout,
        }
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

/// More would mean for ever, and cannot be added to every point in time.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be more than zero".to_owned()),
        Ok(duration) if duration > LONGEST => Err("must be at most 1day".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 10s or 500ms")),
    }
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

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
