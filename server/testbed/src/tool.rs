//! Progress messages and exit statuses of the programs in `bin`.

use std::env;
use std::error::Error;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use crate::interruption::{self, Interrupted};

/// The exit status of a tool that could not do its work.
const FAILED: u8 = 3;
/// The exit status of an interrupted tool: as a shell reports SIGINT.
const INTERRUPTED: u8 = 130;

/// Registers signal handlers and runs a tool. The exit status is 0 if it returns true, 1 if it returns false, 3 if it
/// could not do its work, and 130 if it was interrupted.
#[expect(clippy::print_stderr, reason = "where a tool says why it ends")]
pub fn main(run: impl FnOnce() -> Result<bool, Box<dyn Error>>) -> ExitCode {
    match interruption::listen()
        .map_err(Into::into)
        .and_then(|()| run())
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("{}: {error}", name());
            ExitCode::from(FAILED)
        }
    }
}

/// Prints a progress message to stderr; results go to stdout.
#[expect(clippy::print_stderr, reason = "progress")]
pub fn say(what: &(impl Display + ?Sized)) {
    eprintln!("{}: {what}", name());
}

fn name() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
