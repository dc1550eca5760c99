//! The log: one line for each event, to stderr, for people or for programs.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use clap::ValueEnum;
use tracing::field;
use tracing::level_filters::LevelFilter;

/// The format of lines.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// A line for people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log, also panics. Before, nothing is logged.
///
/// # Panics
/// If it was called before.
pub fn start(level: LevelFilter, format: LogFormat) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        // Otherwise a failure to log is printed to stderr, which panics if stderr is closed.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
    }
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs a panic as one line; the standard library's hook would print several lines to stderr.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let asked_for = backtrace.status() == BacktraceStatus::Captured;
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    tracing::error!(
        thread = std::thread::current().name(),
        at = panic.location().map(field::display),
        cause = text.or_else(|| payload.downcast_ref::<&str>().copied()),
        backtrace = asked_for.then(|| field::display(&backtrace)),
        "a thread panicked"
    );
}
