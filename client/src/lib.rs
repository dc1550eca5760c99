//! The client of `DummyMessenger`: a load generator that also verifies. It sends messages to replicas, measures, and proves from
//! the replies that every promise was kept, or shows the contradiction.
//!
//! The modules, in the order of a run:
//!
//! * `args`: the command line;
//! * `traffic`: who sends what where, from a seed; pure;
//! * `load`: the coroutines that send it, with exact times;
//! * `history`: the record of all requests, a hundred bytes each, and of the pages at the end;
//! * `verify`: the judge, which checks the history; pure;
//! * `stats`: the figures; pure;
//! * `report`: the results as text, JSON, CSV or a page;
//! * `output`: stdout, stderr and files;
//! * `error`, `exit`: why a command could not do its work, and the exit statuses;
//! * `selftest`: a test of the judge by fault injection.
//!
//! Three rules hold throughout. A message of unknown outcome is never assumed to be stored or lost. The judge needs only a
//! history. No request is sent twice unless `--retries` asks for it.

mod args;
mod error;
mod exit;
mod history;
mod load;
mod output;
mod report;
mod selftest;
mod stats;
mod traffic;
mod verify;

use std::io;
use std::process::ExitCode;
use std::thread;

use clap::CommandFactory;

use crate::args::{CheckArgs, Cli, Command, PrintArgs, RunArgs};
use crate::error::Error;
use crate::exit::{INTERRUPTED, INVALID, NOTHING_JUDGED, THRESHOLD_MISSED, VALID};
use crate::history::{History, Op, Writer};
use crate::load::Load;
use crate::output::{NewFile, Style, print, print_error, wants_color};
use crate::report::Document;
use crate::verify::Verdict;

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse_process_arguments();
    let result = match &cli.command {
        None => run(&cli.run),
        Some(Command::Check(args)) => check(args),
        Some(Command::Compare { before, after }) => report::compare(before, after)
            .and_then(|table| print(table.as_bytes()))
            .map(|()| VALID),
        Some(Command::Selftest { rounds, seed }) => {
            let outcome = selftest::run(*seed, *rounds);
            print(outcome.text.as_bytes()).map(|()| if outcome.passed { VALID } else { INVALID })
        }
        Some(Command::Schema) => print(report::schema().as_bytes()).map(|()| VALID),
        Some(Command::Completions { shell }) => completions(*shell).map(|()| VALID),
        Some(Command::Man) => manual().map(|()| VALID),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        print_error(&error);
        error.exit_code()
    }))
}

/// Sends the load, judges the replies, and prints the results; returns the exit status.
fn run(args: &RunArgs) -> Result<u8, Error> {
    let seed = args.load.seed.unwrap_or_else(traffic::random_seed);
    let load = Load::new(args, seed, traffic::random_tag());
    load.check_text_length()?;
    let settings = load.settings();
    // One thread is enough: it sends more than a small machine can answer, without wake-ups between threads. Measured on two
    // cores beside a server: 6.2 us of processor time per request, against 6.9 us with two threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::RunFailed(error.to_string()))?;
    let replicas = runtime.block_on(load::check_reachable(&load))?;
    let [record, output, page] = output::create(
        [
            args.record.history.as_deref(),
            args.print.output.as_deref(),
            args.record.report.as_deref(),
        ],
        None,
    )?;
    let writer = record.map(|file| Writer::new(file, seed, load.judge_settings()));
    let outcome = runtime.block_on(load::run(load, replicas, writer))?;
    // Judging and printing block this thread, so from now on another thread handles the signals. If it cannot be started, a
    // second signal has no effect.
    drop(thread::Builder::new().spawn(move || runtime.block_on(std::future::pending::<()>())));
    let judgement = (!args.judge.no_check).then(|| verify::judge(&outcome.history));
    let figures = stats::summarize(
        &outcome.history,
        outcome.wall,
        outcome.cpu,
        outcome.interrupted,
    );
    let thresholds = args.judge.threshold.iter();
    let thresholds = thresholds
        .map(|threshold| threshold.judge(&figures))
        .collect();
    let results = Document::new(judgement, Some(settings), Some(figures), thresholds);
    let history = &outcome.history;
    let printed = print_results(&results, history, &args.print, output);
    let page_written = page.map_or(Ok(()), |page| page.write(&report::page(&results, history)));
    let outputs = [
        outcome.history_error.map_or(Ok(()), Err),
        printed,
        page_written,
    ];
    Ok(exit_code(&results, history, outputs))
}

/// Returns the exit status, and prints the errors of outputs. A broken promise takes precedence over such an error.
fn exit_code(
    results: &Document,
    history: &History,
    outputs: impl IntoIterator<Item = Result<(), Error>>,
) -> u8 {
    let errors = outputs.into_iter().filter_map(Result::err);
    let failure = errors
        .inspect(print_error)
        .map(|error| error.exit_code())
        .max();
    let answered = history.ops.iter().any(Op::is_ok);
    match (results.verdict, failure) {
        (Verdict::Invalid, _) => INVALID,
        (_, Some(code)) => code,
        _ if !answered => NOTHING_JUDGED,
        _ if results.is_interrupted() => INTERRUPTED,
        _ if !results.thresholds.iter().all(|threshold| threshold.is_met) => THRESHOLD_MISSED,
        _ => VALID,
    }
}

/// Judges a history file and prints the verdict; returns the exit status.
fn check(args: &CheckArgs) -> Result<u8, Error> {
    let history = history::read(&args.file, args.shared)?;
    let [output] = output::create([args.print.output.as_deref()], Some(&args.file))?;
    let results = Document::new(Some(verify::judge(&history)), None, None, Vec::new());
    let printed = print_results(&results, &history, &args.print, output);
    Ok(exit_code(&results, &history, [printed]))
}

fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "client", &mut script);
    print(&script)
}

/// Prints the manual page of the program and of each of its commands.
fn manual() -> Result<(), Error> {
    let mut program = Cli::command();
    // Sets the full names of the subcommands.
    program.build();
    let commands = program.get_subcommands();
    let mut text = Vec::new();
    for page in std::iter::once(&program).chain(commands.filter(|page| page.get_name() != "help")) {
        clap_mangen::Man::new(page.clone())
            .render(&mut text)
            .map_err(Error::Output)?;
    }
    print(&text)
}

/// Prints the results to stdout, or to the file of `--output`, which gets no colors.
fn print_results(
    results: &Document,
    history: &History,
    args: &PrintArgs,
    output: Option<NewFile>,
) -> Result<(), Error> {
    let style = if args.no_color || output.is_some() || !wants_color(&io::stdout()) {
        Style::Plain
    } else {
        Style::Colored
    };
    let text = report::render(results, history, args.output_format, style);
    match output {
        Some(file) => file.write(&text),
        None => print(text.as_bytes()),
    }
}
