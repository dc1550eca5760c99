//! `reports load`: stores the calls of a file, exactly once.
//!
//! The source is read in chunks. Each is stored in one transaction, with its calls, their counts per duration, and the progress
//! of the load. So whichever process is killed at whatever moment, the load resumes after the last chunk that was committed.
//!
//! In reading order:
//!
//! * `source`: opens a source of calls; `json` parses calls, `generator` generates them.
//! * `chunk`: the calls of one transaction.
//! * `loader`: stores chunks, and retries when that fails.
//! * `progress`: the progress bar.

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
use crate::store::{self, LoadState};
use crate::write_stdout;

/// Most malformed rows that are logged; a file of another kind has nothing else.
const MAX_LOGGED: u64 = 10;

/// Arguments of `reports load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// A JSON array of calls, or one call a line: `{"phone": 1, "start_date": MS, "end_date": MS}`, in milliseconds since
    /// 1970, UTC. `-` is standard input
    #[arg(required_unless_present = "generate", conflicts_with = "generate")]
    file: Option<PathBuf>,

    /// Generate calls instead: for each of PHONES phones, CALLS calls of 0 to 120 whole seconds
    #[arg(long, value_name = "PHONESxCALLS")]
    generate: Option<Amount>,

    /// Seed of the generated calls; the same seed generates the same calls
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,

    /// Id of the load. A load with the same id and source resumes where it stopped, and stores nothing twice. By default it
    /// is the hash of a file's content; for standard input it is random, and logged
    #[arg(long, value_parser = load_id, value_name = "TEXT")]
    id: Option<String>,

    /// Stop at the first row that is not a call. What was stored before stays
    #[arg(long)]
    strict: bool,

    /// Calls per transaction. Each takes 24 bytes of memory
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

/// Most calls per transaction, because the undo log of the database limits larger ones.
const MAX_CHUNK_CALLS: u64 = 5_000_000;

/// Most characters of an id, as in its column.
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

/// Loads the calls of a source. Returns the exit status.
///
/// # Errors
/// [`Error`]. What was stored stays, and the load can be resumed.
pub fn run(args: &LoadArgs) -> Result<u8, Error> {
    let origin = args.origin();
    let length = origin.length()?;
    let database = args.database.open(&store::SCHEMA, &crate::registry())?;
    let mut loader = Loader::begin(database, args.id.as_ref(), origin)?;
    let before = loader.state().clone();
    if loader.is_complete() {
        return already_loaded(&loader);
    }
    tracing::info!(id = loader.id(), position = before.position, "loading");
    let bar = progress::begin(length, origin, &before, args.quiet);
    let Some(mut source) = origin.open(&before)? else {
        return Err(Error::SourceMismatch(format!(
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
            return already_loaded(&loader);
        }
        loader.store(chunk, after)?;
        progress::set(&bar, &before, loader.state());
        if loader.state().finished {
            break;
        }
    }
    bar.finish_and_clear();
    write_stdout(&summary(&before, loader.state(), bar.elapsed()))?;
    if loader.state().malformed > before.malformed && loader.state().calls > 0 {
        tracing::warn!(
            "correct what was left out in a file of its own: this one, corrected, is another, and all its calls would be stored again"
        );
    }
    Ok(status(loader.state()))
}

fn already_loaded(loader: &Loader) -> Result<u8, Error> {
    let state = loader.state();
    let LoadState {
        calls, malformed, ..
    } = state;
    write_stdout(&format_args!(
        "{} is loaded already, {calls} calls, {malformed} malformed rows left out; another --id loads it once more",
        loader.id()
    ))?;
    Ok(status(state))
}

/// The exit status. A source whose rows are all malformed most likely does not contain calls.
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

/// Reads the next chunk. Returns it with the state of the load after the chunk is stored.
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
    // Malformed rows count as well, so that the position in a source full of them is stored too.
    while calls.len() as u64 + (after.malformed - before.malformed) < args.chunk_calls as u64 {
        match source.next_row()? {
            Some(Row::Call(call)) => calls.push(call),
            Some(Row::Malformed { at, reason }) if args.strict => {
                return Err(Error::Malformed(at, reason));
            }
            Some(Row::Malformed { at, reason }) => {
                after.malformed += 1;
                if after.malformed <= MAX_LOGGED {
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
    let (position, hash) = source.checkpoint();
    after.position = position;
    after.source = hash.map_or(after.source, store::content_source);
    Ok((Chunk::new(calls), after))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a displayed rate needs no precision"
)]
fn summary(before: &LoadState, after: &LoadState, duration: Duration) -> String {
    let calls = after.calls - before.calls;
    let seconds = duration.as_secs_f64();
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
