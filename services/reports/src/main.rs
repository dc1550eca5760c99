//! The program: parses the command line and runs the chosen command. No logic.

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
    /// Accept report requests as tasks, and show tasks and reports
    Api(api::Options),
    /// Make the reports in the queue
    Worker(worker::Options),
    /// Store the calls of a file, exactly once
    #[command(mut_arg("database_timeout", long_timeout))]
    Load(load::LoadArgs),
    /// Compare the stored counts of calls per duration with the calls themselves
    #[command(mut_arg("database_timeout", long_timeout))]
    Check(check::CheckArgs),
    /// Request reports, measure them and check them
    Client(client::ClientArgs),
}

/// Sets a longer default timeout, because no client waits for a single statement of these commands, and storing or counting
/// millions of calls may take longer than a request.
fn long_timeout(timeout: Arg) -> Arg {
    timeout.default_value("60s")
}

fn main() -> ExitCode {
    let cli: Cli = config::parse("REPORTS");
    match &cli.command {
        Command::Api(options) => service::main(PROGRAM, &options.server, |registry| {
            api::ReportApi::start(options, registry)
        }),
        Command::Worker(options) => service::main(PROGRAM, &options.server, |registry| {
            worker::ReportWorker::start(options, registry)
        }),
        Command::Load(args) => run_command(|| load::run(args)),
        Command::Check(args) => run_command(|| check::run(args)),
        Command::Client(args) => run_command(|| client::run(args)),
    }
}

/// Runs a command that is not a server, and returns its exit status.
fn run_command(work: impl FnOnce() -> Result<u8, Error>) -> ExitCode {
    telemetry::start(LevelFilter::INFO, LogFormat::Text);
    let status = work().unwrap_or_else(|error| {
        tracing::error!("{error}");
        error.exit_code()
    });
    ExitCode::from(status)
}
