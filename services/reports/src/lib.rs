//! Reports over call records: how many calls, how long and how dear, for each phone.
//!
//! The parts in reading order:
//!
//! * [`call`]: a call, as it is told and as it is stored.
//! * [`figures`]: the figures of a phone, from how many calls of which duration it has. Pure.
//! * [`store`]: all SQL of calls.
//! * [`load`]: `reports load`: stores the calls of a file, exactly once.
//! * [`check`]: `reports check`: are the durations those of the calls?
//! * [`client`]: `reports client`: asks for reports, measures and judges them.
//! * [`request`]: what is asked of the API, parsed.
//! * [`tasks`]: all SQL of tasks.
//! * [`api`]: `reports api`: the endpoints; a new route goes here.
//! * [`worker`]: `reports worker`: makes the reports.
//! * [`error`]: why a command could not do its work, and the exit statuses.
//!
//! What keeps figures fast and right: a report reads only how many calls of which duration a phone has. These counts are
//! written in the transaction that writes the calls, and every figure follows from them exactly. The calls stay, and are
//! the truth.

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

/// This program, in metrics.
pub const PROGRAM: Program =
    Program::new("reports", env!("CARGO_PKG_VERSION")).built_from(env!("DUMMY_MESSENGER_BUILD"));

/// Writes lines to stdout, the last without its end. Who reads it may have gone: what was done is done all the same.
fn say(text: &impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Shows on stderr how far a command has come, unless stderr is no terminal.
fn progress(length: Option<u64>, template: &str, quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    ProgressBar::with_draw_target(length, target)
        .with_style(ProgressStyle::with_template(template).expect("the template is right"))
}

/// The metrics of a command that shows none.
fn registry() -> Registry {
    Registry::new(PROGRAM)
}
