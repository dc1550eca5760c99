//! The program: a command each for what it does. No logic.

use std::process::ExitCode;

use clap::{Arg, Parser, Subcommand};
use foundation::telemetry::{self, LevelFilter, LogFormat};
use foundation::{config, service};
use reports::error::Error;
use reports::{PROGRAM, api, check, client, load, worker};

/// Reports over call records.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take what is asked for as tasks, and show them and their reports
    Api(api::Options),
    /// Make the reports that wait
    Worker(worker::Options),
    /// Store the calls of a file, exactly once
    #[command(mut_arg("database_timeout", patient))]
    Load(load::LoadArgs),
    /// Compare how many calls of which duration are noted with the calls themselves
    #[command(mut_arg("database_timeout", patient))]
    Check(check::CheckArgs),
    /// Ask for reports, measure and judge them
    Client(client::ClientArgs),
}

/// Nobody waits for a single answer of these commands, and to store or count millions of calls may take longer than a
/// request.
fn patient(timeout: Arg) -> Arg {
    timeout.default_value("60s")
}

fn main() -> ExitCode {
    let cli: Cli = config::parse("REPORTS");
    match &cli.command {
        Command::Api(options) => service::main(PROGRAM, &options.server, |registry| {
            api::Reports::start(options, registry)
        }),
        Command::Worker(options) => service::main(PROGRAM, &options.server, |registry| {
            worker::Reports::start(options, registry)
        }),
        Command::Load(args) => once(|| load::run(args)),
        Command::Check(args) => once(|| check::run(args)),
        Command::Client(args) => once(|| client::run(args)),
    }
}

/// Does the work of a command that ends by itself.
fn once(work: impl FnOnce() -> Result<u8, Error>) -> ExitCode {
    telemetry::start(LevelFilter::INFO, LogFormat::Text);
    let status = work().unwrap_or_else(|error| {
        tracing::error!("{error}");
        error.exit_code()
    });
    ExitCode::from(status)
}
