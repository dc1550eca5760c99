//! `reports load`: stores the calls of a file, exactly once.
//!
//! The source is read chunk by chunk. Each is stored in one transaction: its calls, how many of them have which duration,
//! and how far the load has come. So whatever is killed at whatever moment, the load goes on behind the last chunk that was
//! stored as a whole.
//!
//! In reading order:
//!
//! * `source`: where calls come from; `json` reads them, `generator` makes them up.
//! * `chunk`: what is stored at once.
//! * `loader`: stores chunks, and what it does when that fails.
//! * `progress`: what is shown meanwhile.

mod source;
mod json;
mod generator;
mod chunk;
mod loader;
mod progress;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use foundation::config::DatabaseArgs;
use indicatif::ProgressBar;

pub use self::chunk::Chunk;
use self::generator::Amount;
use self::json::Row;
use self::loader::Loader;
use self::source::{Origin, Source};
use crate::error::{Error, INVALID, VALID};
use crate::say;
use crate::store::{self, LoadState};

/// How many malformed rows are told one by one; of a wrong file all are.
const TOLD: u64 = 10;

/// What is loaded, and how.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// A JSON array of calls, or one call a line: `{"phone": 1, "start_date": MS, "end_date": MS}`, in milliseconds since
    /// 1970, UTC. `-` is standard input
    #[arg(required_unless_present = "generate", conflicts_with = "generate")]
    file: Option<PathBuf>,

    /// Make calls up instead: of so many phones so many each, of 0 to 120 whole seconds
    #[arg(long, value_name = "PHONESxCALLS")]
    generate: Option<Amount>,

    /// Seed of the calls that are made up; the same seed makes the same
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,

    /// Name of the load. A load of the same name and source goes on where it stopped, and stores nothing twice. A file's
    /// is made of its content, if it is not given; that of standard input is drawn, and shown
    #[arg(long, value_parser = load_id, value_name = "TEXT")]
    id: Option<String>,

    /// End at the first row that is no call. What was stored before stays
    #[arg(long)]
    strict: bool,

    /// Calls of one transaction. More take more memory, 24 bytes each
    #[arg(
        long,
        default_value_t = 500_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_CHUNK_CALLS),
        value_name = "COUNT"
    )]
    chunk_calls: usize,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,

    /// Options of the database.
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A transaction of more makes the database's undo log the limit.
const MAX_CHUNK_CALLS: u64 = 5_000_000;

/// As long as the column.
const MAX_ID_LENGTH: usize = 255;

fn load_id(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=MAX_ID_LENGTH => Ok(text.to_owned()),
        _ => Err(format!("must have 1 to {MAX_ID_LENGTH} characters")),
    }
}

impl LoadArgs {
    fn origin(&self) -> Origin<'_> {
        match (&self.file, self.generate) {
            (Some(path), _) if path != Path::new("-") => Origin::File(path),
            (None, Some(amount)) => Origin::Generator(amount, self.seed),
            _ => Origin::Stdin,
        }
    }
}

/// Loads; returns the exit status.
///
/// # Errors
/// [`Error`]. What was stored stays, and the load can go on.
pub fn run(args: &LoadArgs) -> Result<u8, Error> {
    let origin = args.origin();
    let length = origin.length()?;
    let database = args.database.open(&store::SCHEMA, &crate::registry())?;
    let mut loader = Loader::begin(database, args.id.as_ref(), origin)?;
    let before = loader.state().clone();
    if loader.is_over() {
        return loaded_already(&loader);
    }
    tracing::info!(id = loader.id(), position = before.position, "loading");
    let bar = progress::begin(length, origin, &before, args.quiet);
    let Some(mut source) = origin.open(&before)? else {
        return Err(Error::OtherSource(format!(
            "load {} has stored {} calls, and this does not begin with the {} bytes that they came from, so that nothing \
             of it is loaded. A source that begins with them is gone on with behind them; another --id loads all of this \
             beside them",
            loader.id(),
            before.calls,
            before.position,
        )));
    };
    loop {
        let (chunk, after) = read_chunk(&mut source, args, loader.state(), &bar)?;
        if after == before && after.finished {
            bar.finish_and_clear();
            return loaded_already(&loader);
        }
        loader.store(chunk, after)?;
        progress::set(&bar, &before, loader.state());
        if loader.state().finished {
            break;
        }
    }
    bar.finish_and_clear();
    say(&summary(&before, loader.state(), bar.elapsed()))?;
    if loader.state().malformed > before.malformed && loader.state().calls > 0 {
        tracing::warn!(
            "correct what was left out in a file of its own: this one, corrected, is another, and all its calls would be stored again"
        );
    }
    Ok(status(loader.state()))
}

fn loaded_already(loader: &Loader) -> Result<u8, Error> {
    let state = loader.state();
    let LoadState {
        calls, malformed, ..
    } = state;
    say(&format_args!(
        "{} is loaded already, {calls} calls, {malformed} malformed rows left out; another --id loads it once more",
        loader.id()
    ))?;
    Ok(status(state))
}

/// A source all of whose rows are malformed is most likely none of calls.
fn status(state: &LoadState) -> u8 {
    if state.calls == 0 && state.malformed > 0 {
        tracing::error!(
            rows = state.malformed,
            "nothing is loaded: no row is a call"
        );
        INVALID
    } else {
        VALID
    }
}

/// Reads the next chunk, and gives it with the state of the load that has stored it.
fn read_chunk(
    source: &mut Source,
    args: &LoadArgs,
    before: &LoadState,
    bar: &ProgressBar,
) -> Result<(Chunk, LoadState), Error> {
    let mut calls = Vec::with_capacity(args.chunk_calls);
    let mut after = LoadState {
        finished: false,
        ..before.clone()
    };
    // Malformed rows count as well, so that the position of a source full of them is kept too.
    while calls.len() as u64 + (after.malformed - before.malformed) < args.chunk_calls as u64 {
        match source.next_row()? {
            Some(Row::Call(call)) => calls.push(call),
            Some(Row::Malformed { at, reason }) if args.strict => {
                return Err(Error::Malformed(at, reason));
            }
            Some(Row::Malformed { at, reason }) => {
                after.malformed += 1;
                if after.malformed <= TOLD {
                    bar.suspend(|| tracing::warn!(at, reason, "a row is no call, and is left out"));
                }
            }
            None => {
                after.finished = true;
                break;
            }
        }
    }
    after.calls += calls.len() as u64;
    let (position, hash) = source.place();
    after.position = position;
    after.source = hash.map_or(after.source, store::bytes);
    Ok((Chunk::new(calls), after))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn summary(before: &LoadState, after: &LoadState, took: Duration) -> String {
    let calls = after.calls - before.calls;
    let seconds = took.as_secs_f64();
    let rate = calls as f64 / seconds;
    let malformed = after.malformed - before.malformed;
    let resumed = match before.calls {
        0 => String::new(),
        earlier => format!("; {earlier} were loaded before"),
    };
    format!(
        "{calls} calls loaded in {seconds:.1} s, {rate:.0} calls/s; {malformed} malformed rows left out{resumed}"
    )
}
