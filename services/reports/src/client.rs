//! `reports client`: requests reports, measures them and checks them.
//!
//! It keeps a fixed number of reports in progress. It asks the service to hold a request for a task until the task ends
//! (`Prefer: wait`), and polls every half second if the service does not. It has its own wire types, because with types shared
//! with the service, a fault of the service could go unnoticed.
//!
//! In reading order:
//!
//! * `report_client`: requests one report: POST, poll the task, GET.
//! * `validator`: checks reports against each other. Pure.
//! * `summary`: the printed figures.

mod report_client;
mod validator;
mod summary;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use foundation::config::duration;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use self::report_client::ReportClient;
use self::summary::Summary;
use self::validator::Validator;
use crate::error::{self, Error};
use crate::write_stdout;

/// Arguments of `reports client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// URL of the service
    #[arg(short, long, default_value = "http://127.0.0.1:8000", value_parser = base_url, value_name = "URL")]
    url: String,

    /// Reports in progress at a time
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "COUNT")]
    concurrency: u64,

    /// Reports in total
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

    /// Timeout of a report, from the first POST. Transient failures are retried until then
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn base_url(text: &str) -> Result<String, String> {
    let hint = "write it like http://127.0.0.1:8000, with http://";
    let url: url::Url = text.parse().map_err(|error| format!("{error}; {hint}"))?;
    match url.scheme() {
        "http" => Ok(text.trim_end_matches('/').to_owned()),
        "https" => Err("https:// is not spoken here, only http://".to_owned()),
        _ => Err(hint.to_owned()),
    }
}

/// Requests the reports and prints the results. Returns the exit status.
///
/// # Errors
/// [`Error`]
pub fn run(args: &ClientArgs) -> Result<u8, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (summary, validator) = runtime.block_on(request_reports(args))?;
    // Does not wait for reports that are still in progress after a second Ctrl-C.
    runtime.shutdown_background();
    write_stdout(&format_args!("{summary}{validator}"))?;
    Ok(exit_code(&summary, &validator, args.number))
}

/// The exit status; a contradiction takes precedence over all else.
fn exit_code(summary: &Summary, validator: &Validator, requested: u64) -> u8 {
    match (validator.is_valid(), summary.reports(), summary.failed()) {
        (false, ..) => error::INVALID,
        (true, 0, _) => error::NO_REPORTS,
        (true, _, 1..) => error::FAILED,
        (true, reports, 0) if reports < requested => error::INTERRUPTED,
        (true, ..) => error::VALID,
    }
}

/// Keeps reports in progress until all are finished. After the first Ctrl-C it begins no more, after the second it waits no more.
async fn request_reports(args: &ClientArgs) -> Result<(Summary, Validator), Error> {
    let client = ReportClient::new(args)?;
    client.check_reachable().await?;
    let client = Arc::new(client);
    let template = "{bar:40} {pos}/{len} reports  {per_sec}  {eta} left";
    let progress = crate::progress_bar(Some(args.number), template, args.quiet);
    let mut summary = Summary::new(Instant::now());
    let mut validator = Validator::new(args.phones.clone());
    let mut signals = signal(SignalKind::interrupt())?;
    let mut interrupted = false;
    let mut to_start = 0..args.number;
    let mut in_progress = JoinSet::new();
    loop {
        while (in_progress.len() as u64) < args.concurrency
            && let Some(index) = to_start.next()
        {
            in_progress.spawn(Arc::clone(&client).fetch(index));
        }
        tokio::select! {
            finished = in_progress.join_next() => {
                let Some(finished) = finished else { break };
                let finished = finished.map_err(io::Error::from)?;
                validator.check(&finished);
                summary.add(finished);
                progress.inc(1);
            }
            _signal = signals.recv() => {
                if interrupted {
                    break;
                }
                interrupted = true;
                to_start = 0..0;
            }
        }
    }
    summary.end();
    progress.finish_and_clear();
    Ok((summary, validator))
}
