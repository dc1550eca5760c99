//! Clients that judge what they are shown.

use std::process::ExitCode;

use clap::Args;

/// Options of the clients.
#[derive(Debug, Args)]
pub struct LoadArgs {}

/// Runs them.
#[must_use]
pub fn run(_options: &LoadArgs) -> ExitCode {
    ExitCode::SUCCESS
}
