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
//! * `report`: what a person or a program reads of it;
//! * `selftest`: does the judge find what it claims to find?
//!
//! Three things hold throughout. A message whose fate is open is never taken for stored nor for lost. Judging needs nothing
//! but a history. Nothing is sent twice unless `--retries` asks for it.

mod args;
mod error;
mod history;
mod load;
mod report;
mod selftest;
mod stats;
mod traffic;
mod verify;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{CheckArgs, Cli, Command, PrintArgs, RunArgs};
use crate::error::Error;
use crate::history::{Header, Writer};
use crate::load::{Load, Ran};
use crate::report::{Met, Results, Run, Style};
use crate::verify::{Judgement, Verdict};

const VALID: u8 = 0;
const INVALID: u8 = 1;
const THRESHOLD_MISSED: u8 = 4;
const NOTHING_JUDGED: u8 = 5;
const INTERRUPTED: u8 = 130;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => run(&cli.run),
        Some(Command::Check(args)) => check(args),
        Some(Command::Compare(args)) => report::compare(&args.before, &args.after)
            .and_then(|table| print(&table))
            .map(|()| VALID),
        Some(Command::Selftest(args)) => {
            let tested = selftest::run(args.seed, args.rounds);
            print(&tested.text).map(|()| if tested.passed { VALID } else { INVALID })
        }
        Some(Command::Schema) => print(&report::schema()).map(|()| VALID),
        Some(Command::Completions { shell }) => completions(*shell).map(|()| VALID),
        Some(Command::Man) => manual().map(|()| VALID),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        say("error", &error.to_string());
        error.exit_code()
    }))
}

/// The run: load, then judge, then print.
fn run(args: &RunArgs) -> Result<u8, Error> {
    let seed = args.load.seed.unwrap_or_else(rand::random);
    let load = Load::new(args, seed, traffic::fresh_tag());
    load.check_text_length()?;
    let settings = load.settings();
    let header = Header::new(seed, load.setting());
    let writer = args
        .record
        .history
        .as_deref()
        .map(|path| Writer::create(path, &header))
        .transpose()?;
    // One thread: it sends more than small machines can answer, and has no wake-ups between threads. Measured on two cores
    // beside a server: 6.2 us of processor time a request, against 6.9 us with two threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::BrokeDown(error.to_string()))?;
    let Ran {
        history,
        wall,
        cpu,
        interrupted,
    } = runtime.block_on(load::run(load, writer))?;
    let judgement = (!args.judge.no_check).then(|| verify::judge(&history));
    let stats = stats::summarize(&history, wall, cpu);
    let thresholds: Vec<Met> = args
        .judge
        .threshold
        .iter()
        .map(|threshold| threshold.judge(&stats))
        .collect();
    let met = thresholds.iter().all(|met| met.holds);
    let results = Results {
        history: &history,
        run: Some(Run {
            settings,
            stats: &stats,
            interrupted,
        }),
        judgement: judgement.as_ref(),
        thresholds,
    };
    show(&results, &args.print)?;
    if let Some(path) = &args.record.report {
        write(path, &report::page(&results))?;
    }
    let verdict = judgement.map(|judgement| judgement.verdict);
    Ok(match verdict {
        Some(Verdict::Invalid) => INVALID,
        _ if interrupted => INTERRUPTED,
        Some(Verdict::Unknown) => NOTHING_JUDGED,
        _ if !met => THRESHOLD_MISSED,
        Some(Verdict::Valid) | None => VALID,
    })
}

/// Judges a file.
fn check(args: &CheckArgs) -> Result<u8, Error> {
    let (_, history) = history::read(&args.file, args.shared)?;
    let judgement: Judgement = verify::judge(&history);
    let results = Results {
        history: &history,
        run: None,
        judgement: Some(&judgement),
        thresholds: Vec::new(),
    };
    show(&results, &args.print)?;
    Ok(match judgement.verdict {
        Verdict::Valid => VALID,
        Verdict::Invalid => INVALID,
        Verdict::Unknown => NOTHING_JUDGED,
    })
}

fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "client", &mut script);
    print_bytes(&script)
}

/// A page for the program, and one for each of its commands.
fn manual() -> Result<(), Error> {
    let mut program = Cli::command();
    // This gives the commands their full names.
    program.build();
    let commands = program.get_subcommands();
    let mut text = Vec::new();
    for page in std::iter::once(&program).chain(commands.filter(|page| page.get_name() != "help")) {
        clap_mangen::Man::new(page.clone())
            .render(&mut text)
            .map_err(Error::Output)?;
    }
    print_bytes(&text)
}

/// Prints the results where they are wanted.
fn show(results: &Results<'_>, args: &PrintArgs) -> Result<(), Error> {
    let colored =
        args.output.is_none() && !args.no_color && wants_color(io::stdout().is_terminal());
    let style = if colored {
        Style::Colored
    } else {
        Style::Plain
    };
    let text = report::render(results, args.output_format, style);
    match &args.output {
        Some(path) => write(path, &text),
        None => print(&text),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

fn wants_color(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn print(text: &str) -> Result<(), Error> {
    print_bytes(text.as_bytes())
}

/// To stdout. A reader that left early is no fault.
fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
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
