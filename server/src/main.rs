//! The server's process: options, start, signals, exit code. No logic.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clap::Parser;
use server::config::Config;
use server::http::Edge;
use server::log;
use server::messenger::Messenger;
use server::metrics::Metrics;
use server::store::{SetupError, Store};
use server::{descriptors, listener};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const FAILED: u8 = 1;
/// As clap ends on a wrong option.
const MISCONFIGURED: u8 = 2;
/// The port belongs to another process.
const ADDRESS_TAKEN: u8 = 3;

fn main() -> ExitCode {
    let config = Config::parse();
    log::start(config.log_level, config.log_format);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{:#}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    message: String,
    code: u8,
}

fn run(config: &Config) -> Result<(), Failure> {
    config.log();
    // Two descriptors a connection; the usual soft limit of 1,024 is soon reached.
    if let Err(error) = descriptors::claim() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    if !config.listen.ip().is_loopback() {
        let address = config.listen;
        tracing::warn!(%address, "open to the network: without authentication, whoever reaches it can write and read");
    }
    let metrics = Metrics::new();
    let store = Store::open(
        &config.database_urls(),
        config.database_timeouts(),
        config.startup_timeout,
        &metrics,
    )
    .map_err(|error| Failure {
        code: if matches!(error, SetupError::Url(_)) {
            MISCONFIGURED
        } else {
            FAILED
        },
        message: error.to_string(),
    })?;
    // Not before: until here a signal ends the process at once, and callers are refused and do not wait.
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(failed("cannot listen to signals"))?;
    let socket = listener::listen(config.listen, config.idle_timeout, config.send_timeout)
        .map_err(|error| Failure {
            message: format!("cannot listen on {}: {error}", config.listen),
            code: if error.kind() == std::io::ErrorKind::AddrInUse {
                ADDRESS_TAKEN
            } else {
                FAILED
            },
        })?;
    let messenger = Arc::new(
        Messenger::start(store, config.writer_limits(), Arc::clone(&metrics))
            .map_err(failed("cannot start the writer"))?,
    );
    let edge = Edge::new(socket, config.edge_limits(), metrics).map_err(failed("cannot serve"))?;
    let address = edge.address().map_err(failed("cannot serve"))?;
    let stopper = edge.stopper().map_err(failed("cannot serve"))?;
    let asked_to_stop = Arc::new(OnceLock::new());
    let asked = Arc::clone(&asked_to_stop);
    let on_signal = move || {
        for signal in &mut signals {
            asked.get_or_init(Instant::now);
            stopper.stop();
            tracing::info!(signal, "stopping: finishing what was taken");
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(on_signal)
        .map_err(failed("cannot serve"))?;
    tracing::info!(%address, "ready");

    edge.serve(Arc::clone(&messenger))
        .map_err(failed("cannot serve"))?;
    // Unless a slow caller still holds a thread; all that was taken is stored in any case.
    if let Some(messenger) = Arc::into_inner(messenger) {
        let asked = asked_to_stop.get().copied();
        messenger.finish(asked.unwrap_or_else(Instant::now) + config.shutdown_timeout);
    }
    tracing::info!("stopped");
    Ok(())
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure {
        message: format!("{what}: {error}"),
        code: FAILED,
    }
}
