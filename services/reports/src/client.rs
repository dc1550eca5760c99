//! `reports client`: asks for reports, measures and judges them.
//!
//! It keeps so many reports under way all the time. Where the service holds a question for a task until it ends (`Prefer:
//! wait`), it is held; any other is asked each half second. Its wire types are its own: it is the judge, and types that are
//! shared with the service would let one fault hide another.
//!
//! In reading order:
//!
//! * `conversation`: one report: posted, waited for, fetched.
//! * `judge`: what the reports must have in common. Pure.
//! * `summary`: what a person reads of it.

mod conversation;
mod judge;
mod summary;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use foundation::config::duration;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use self::conversation::Conversation;
use self::judge::Judge;
use self::summary::Summary;
use crate::error::{self, Error};
use crate::say;

/// What is asked for, and of whom.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// URL of the service
    #[arg(short, long, default_value = "http://127.0.0.1:8000", value_parser = base_url, value_name = "URL")]
    url: String,

    /// How many reports are under way at a time
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "COUNT")]
    concurrency: u64,

    /// How many reports together
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000_000), value_name = "COUNT")]
    number: u64,

    /// The phones of each report
    #[arg(
        short,
        long,
        value_delimiter = ',',
        default_value = "1,2,3,4,5,6,7,8,9,10",
        value_name = "PHONES"
    )]
    phones: Vec<u64>,

    /// How long a report may take, from the first POST on. What fails in passing is tried again until then
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn base_url(text: &str) -> Result<String, String> {
    let no_url = "write it like http://127.0.0.1:8000, with http://";
    let url: url::Url = text.parse().map_err(|error| format!("{error}; {no_url}"))?;
    match url.scheme() {
        "http" => Ok(text.trim_end_matches('/').to_owned()),
        "https" => Err("https:// is not spoken here, only http://".to_owned()),
        _ => Err(no_url.to_owned()),
    }
}

/// Asks for the reports, prints the results; returns the exit status.
///
/// # Errors
/// [`Error`]
pub fn run(args: &ClientArgs) -> Result<u8, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (summary, judge) = runtime.block_on(ask(args))?;
    // Reports that are still under way after a second Ctrl-C are not waited for.
    runtime.shutdown_background();
    say(&format_args!("{summary}{judge}"))?;
    Ok(exit_code(&summary, &judge, args.number))
}

/// A broken promise outweighs all else.
fn exit_code(summary: &Summary, judge: &Judge, asked: u64) -> u8 {
    match (judge.is_valid(), summary.reports(), summary.failed()) {
        (false, ..) => error::INVALID,
        (true, 0, _) => error::NOTHING_JUDGED,
        (true, _, 1..) => error::NOT_DONE,
        (true, reports, 0) if reports < asked => error::INTERRUPTED,
        (true, ..) => error::VALID,
    }
}

/// Keeps reports under way until all have ended. The first Ctrl-C begins nothing more, the second waits for nothing more.
async fn ask(args: &ClientArgs) -> Result<(Summary, Judge), Error> {
    let conversation = Conversation::new(args)?;
    conversation.check_reachable().await?;
    let conversation = Arc::new(conversation);
    let template = "{bar:40} {pos}/{len} reports  {per_sec}  {eta} left";
    let progress = crate::progress(Some(args.number), template, args.quiet);
    let mut summary = Summary::new(Instant::now());
    let mut judge = Judge::new(args.phones.clone());
    let mut signals = signal(SignalKind::interrupt())?;
    let mut interrupted = false;
    let mut to_begin = 0..args.number;
    let mut under_way = JoinSet::new();
    loop {
        while (under_way.len() as u64) < args.concurrency
            && let Some(index) = to_begin.next()
        {
            under_way.spawn(Arc::clone(&conversation).hold(index));
        }
        tokio::select! {
            ended = under_way.join_next() => {
                let Some(ended) = ended else { break };
                let ended = ended.map_err(io::Error::from)?;
                judge.judge(&ended);
                summary.add(ended);
                progress.inc(1);
            }
            _signal = signals.recv() => {
                if interrupted {
                    break;
                }
                interrupted = true;
                to_begin = 0..0;
            }
        }
    }
    summary.end();
    progress.finish_and_clear();
    Ok((summary, judge))
}
