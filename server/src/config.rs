//! Options of the messenger, beside those of every server.

use clap::{Parser, ValueEnum};
use foundation::config::{DatabaseArgs, HttpArgs, LogArgs, ServerArgs, at_least_one};

use crate::writer::WriterLimits;
use crate::{BUILD, VERSION};

/// The DummyMessenger server. Numbers and stores messages in one order; any number of these may share a database.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), next_line_help = false)]
pub struct Config {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Most messages that wait for the database; more are refused with 503
    #[arg(long, default_value_t = 4096, value_parser = at_least_one, value_name = "COUNT")]
    pub queue_messages: usize,

    /// Most messages in one transaction, up to 900
    #[arg(long, default_value_t = 256, value_parser = batch_size, value_name = "COUNT")]
    pub batch_messages: usize,

    /// Bytes of users and texts that end a batch
    #[arg(long, default_value_t = 1 << 20, value_parser = at_least_one, value_name = "BYTES")]
    pub batch_bytes: usize,
}

impl Config {
    /// Logs what is in effect, each option by its name. The database's URLs show themselves without passwords.
    pub fn log(&self) {
        let Self {
            server,
            queue_messages,
            batch_messages,
            batch_bytes,
        } = self;
        let ServerArgs {
            http,
            database,
            log,
        } = server;
        let DatabaseArgs {
            database_url: _,
            connect_timeout,
            database_timeout,
            startup_timeout,
        } = database;
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
            database_url = %database.urls(),
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
            request_timeout: self.server.http.request_timeout,
        }
    }
}

fn name(value: &impl ValueEnum) -> Option<String> {
    let value = value.to_possible_value()?;
    Some(value.get_name().to_owned())
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
