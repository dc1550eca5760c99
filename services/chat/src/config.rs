//! Subcommands and options, beside those of every server.

use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand};
use foundation::config::ServerArgs;

use crate::load::LoadArgs;
use crate::verify::VerifyArgs;

/// Rooms over WebSocket, an inner service that answers reversed, and proofs of work that anyone can check.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"))]
pub struct Config {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves the page and the sockets
    #[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:8000")))]
    Web(WebArgs),
    /// Answers, and hands on what is to be proved
    #[command(mut_arg("listen", |listen| listen.default_value(ANY_PORT)))]
    Messager(MessagerArgs),
    /// Looks for proofs, on all cores
    #[command(mut_arg("listen", |listen| listen.default_value(ANY_PORT)))]
    Worker(WorkerArgs),
    /// Checks a proof
    Verify(VerifyArgs),
    /// Runs clients that judge what they are shown
    Load(LoadArgs),
}

/// An inner process has health and metrics only, which nobody looks for at a fixed place.
const ANY_PORT: &str = "127.0.0.1:0";

/// Options of the outer process.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Origins whose pages may open sockets here beside the own, like `https://chat.example`. With commas between
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub allowed_origins: Vec<String>,
}

/// Options of the messager.
#[derive(Debug, Args)]
pub struct MessagerArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Options of the worker.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Zero bits that a proof's hash begins with
    #[arg(long, env = "POW_BITS", default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=32), value_name = "BITS")]
    pub pow_bits: u8,

    /// Threads that look for a proof; one a core if it is not said
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}

impl WorkerArgs {
    /// How many threads look for a proof.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().ok();
        self.threads.or_else(cores).map_or(1, NonZeroUsize::get)
    }
}
