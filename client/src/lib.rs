//! `DummyMessenger`'s client: a load tool that also judges. It sends messages to replicas, measures, and proves from the
//! replies that every promise was kept, or shows the contradiction.
//!
//! In reading order, as a run goes:
//!
//! * `args`: the command line;
//! * `traffic`: who sends what where, from a seed; pure;
//! * `load`: the coroutines that send it, with exact times;
//! * `history`: what happened, a hundred bytes a request;
//! * `verify`: the judge; pure;
//! * `stats`: the figures; pure;
//! * `report`: what a person or a program reads of it.
//!
//! Three things hold throughout. A message whose fate is open is never taken for stored nor for lost. Judging needs nothing
//! but a [history](mod@history). Nothing is sent twice unless `--retries` asks for it.

mod args;
mod history;
mod load;
mod report;
mod stats;
mod traffic;
mod verify;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, RunArgs};
use crate::load::{Load, Ran};
use crate::verify::Verdict;

const COULD_NOT_RUN: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = run(&cli.run).unwrap_or_else(|error| {
        say("error", &error);
        COULD_NOT_RUN
    });
    ExitCode::from(code)
}

fn run(args: &RunArgs) -> Result<u8, String> {
    let seed = args.load.seed.unwrap_or_else(rand::random);
    let load = Load::new(args, seed, traffic::fresh_tag());
    // One thread: it sends more than the two cores of a small machine can answer, and needs no wake-ups between threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let Ran {
        history,
        wall,
        cpu,
        interrupted,
    } = runtime.block_on(load::run(load))?;
    let judgement = (!args.output.no_check).then(|| verify::judge(&history));
    let stats = stats::summarize(&history, wall, cpu);
    let verdict = judgement.as_ref().map(|judgement| judgement.verdict);
    print(&report::text::render(
        args,
        seed,
        &history.setting,
        &stats,
        judgement.as_ref(),
    ))?;
    Ok(match verdict {
        Some(Verdict::Invalid) => 1,
        _ if interrupted => INTERRUPTED,
        Some(Verdict::Unknown) => 5,
        Some(Verdict::Valid) | None => 0,
    })
}

/// To stdout. A reader that left early is no fault.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the results: {error}"))
        }
        _ => Ok(()),
    }
}

fn warn(message: &str) {
    say("warning", message);
}

fn say(kind: &str, message: &str) {
    let mut stderr = io::stderr().lock();
    let colored =
        stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let written = if colored {
        writeln!(stderr, "\x1b[1;33m{kind}:\x1b[0m {message}")
    } else {
        writeln!(stderr, "{kind}: {message}")
    };
    // If stderr is gone, nobody is left to tell.
    drop(written);
}

/// At the second Ctrl-C.
#[expect(clippy::exit, reason = "the user asked twice to leave at once")]
fn leave() {
    std::process::exit(INTERRUPTED.into());
}
