//! Options of the messenger, beside those of every server.

use clap::{Parser, ValueEnum};
use foundation::config::ServerArgs;

use crate::writer::WriterLimits;
use crate::{BUILD, VERSION};

/// The DummyMessenger server. Numbers and stores messages in one order; any number of these may share a database.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), next_line_help = false)]
pub struct Config {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Limits of the writer.
    #[command(flatten)]
    pub writer: WriterLimits,
}

impl Config {
    /// Logs what is in effect, each option by its name. The database's URLs show themselves without passwords.
    pub fn log(&self) {
        let ServerArgs {
            http,
            database,
            log,
        } = &self.server;
        tracing::info!(
            version = VERSION,
            build = BUILD,
            listen = %http.listen,
            database_url = %database.urls(),
            workers = http.workers,
            queue_messages = self.writer.queue_messages,
            batch_messages = self.writer.batch_messages,
            batch_bytes = self.writer.batch_bytes,
            body_limit = http.body_limit,
            request_timeout = ?http.request_timeout,
            idle_timeout = ?http.idle_timeout,
            send_timeout = ?http.send_timeout,
            connect_timeout = ?database.timeouts.connect_timeout,
            database_timeout = ?database.timeouts.database_timeout,
            startup_timeout = ?database.startup_timeout,
            shutdown_timeout = ?http.shutdown_timeout,
            log_level = log.log_level.to_string(),
            log_format = log.log_format.to_possible_value().map(|format| format.get_name().to_owned()),
            "starting"
        );
    }
}
