//! The life cycle of a server's process: listen, signals, serve, finish, exit status.

use std::io::ErrorKind;
use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::ServerArgs;
use crate::http::{self, Edge, HttpArgs, Service};
use crate::mysql::SetupError;
use crate::telemetry::{self, Program, Registry};

const FAILED: u8 = 1;
/// An option is wrong; clap uses the same status.
const MISCONFIGURED: u8 = 2;
/// The port belongs to another process.
const ADDRESS_TAKEN: u8 = 3;

/// Why a server ended.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// It could not go on: exit status 1.
    pub fn new(message: &impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: FAILED,
        }
    }

    fn of<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::new(&format!("{what}: {error}"))
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self {
            message: error.to_string(),
            code: match error {
                SetupError::Url(_) => MISCONFIGURED,
                SetupError::Database(_) => FAILED,
            },
        }
    }
}

/// Runs a server: begins to log, serves the service that `start` returns until SIGTERM or SIGINT, and returns the exit status. A
/// failure is logged.
#[must_use]
pub fn main<S: Service>(
    program: Program,
    options: &ServerArgs,
    start: impl FnOnce(&Registry) -> Result<S, Failure>,
) -> ExitCode {
    telemetry::start(options.log.log_level, options.log.log_format);
    match serve(program, options.http, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Like [`main`], for a program that begins to log by itself.
///
/// # Errors
/// Why it ended.
pub fn serve<S: Service>(
    program: Program,
    options: HttpArgs,
    start: impl FnOnce(&Registry) -> Result<S, Failure>,
) -> Result<(), Failure> {
    // A connection takes two descriptors, so the usual soft limit of 1,024 is soon reached.
    http::claim_descriptors();
    let registry = Registry::new(program);
    let address = options.listen;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "open to the network: whoever reaches it can use it");
    }
    let service = start(&registry)?;
    // Not before: until here a signal ends the process at once, and clients are refused instead of waiting.
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(Failure::of("cannot listen to signals"))?;
    let edge = Edge::listen(options, registry, service).map_err(|error| Failure {
        message: format!("cannot listen on {address}: {error}"),
        code: match error.kind() {
            ErrorKind::AddrInUse => ADDRESS_TAKEN,
            _ => FAILED,
        },
    })?;
    let cannot_serve = "cannot serve";
    let address = edge.address().map_err(Failure::of(cannot_serve))?;
    let stop = edge.stopper();
    let on_signal = move || {
        for signal in &mut signals {
            stop();
            tracing::info!(signal, "stopping: finishing what was taken");
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(on_signal)
        .map_err(Failure::of(cannot_serve))?;
    tracing::info!(%address, "ready");

    edge.serve().map_err(Failure::of(cannot_serve))?;
    tracing::info!("stopped");
    Ok(())
}
