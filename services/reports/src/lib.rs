//! Reports over call records: how many calls, how long and how expensive, for each phone.
//!
//! The parts in reading order:
//!
//! * [`call`]: a call, as a source has it and as it is stored.
//! * [`figures`]: computes the figures of a phone from its number of calls per duration. Pure.
//! * [`store`]: all SQL for calls.
//! * [`load`]: `reports load`: stores the calls of a file, exactly once.
//! * [`check`]: `reports check`: compares the counts per duration with the calls.
//! * [`client`]: `reports client`: requests reports, measures them and checks them.
//! * [`request`]: parses and validates what clients send to the API.
//! * [`tasks`]: all SQL for tasks.
//! * [`api`]: `reports api`: the endpoints; a new route goes here.
//! * [`worker`]: `reports worker`: makes the reports.
//! * [`error`]: why a command failed, and the exit statuses.
//!
//! What keeps figures fast and correct: a report reads only the number of calls that a phone has of each duration. These counts
//! are written in the transaction that writes the calls, and every figure is computed from them exactly. The calls are kept, as
//! the source of truth.

pub mod call;
pub mod figures;
pub mod store;
pub mod load;
pub mod check;
pub mod client;
pub mod request;
pub mod tasks;
pub mod api;
pub mod worker;
pub mod error;

use std::fmt;
use std::io::{self, Write};

use foundation::telemetry::{Program, Registry};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The name, version and build of this program, as its metrics show them.
pub const PROGRAM: Program =
    Program::new("reports", env!("CARGO_PKG_VERSION")).built_from(env!("DUMMY_MESSENGER_BUILD"));

/// Writes `text` and a line feed to stdout. A closed pipe is no error, because the work of the command is done already.
fn write_stdout(text: &impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A progress bar on stderr; hidden if stderr is not a terminal.
fn progress_bar(length: Option<u64>, template: &str, quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    ProgressBar::with_draw_target(length, target)
        .with_style(ProgressStyle::with_template(template).expect("the template is right"))
}

/// A metrics registry for commands that do not export metrics.
fn registry() -> Registry {
    Registry::new(PROGRAM)
}
