//! The client, and the history it writes.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use faults::{Process, interruption, requests_of};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::arguments::Arguments;
use crate::scene::Scene;

const COROUTINES: &str = "50";
/// Enough for every fault: a repetition waits up to a second.
const RETRIES: &str = "100";
/// Longer than the server's own deadline, so that its 503 and 504 are seen.
const TIMEOUT: &str = "30s";
/// The client repeats what is under way when its time is over.
const PATIENCE: Duration = Duration::from_secs(300);
const VALID: i32 = 0;

/// The client at work.
pub(crate) struct Client {
    process: Process,
    program: PathBuf,
    history: PathBuf,
}

/// What it found.
pub(crate) struct Run {
    pub(crate) valid: bool,
    /// As it tells it.
    pub(crate) verdict: String,
    pub(crate) history: Vec<Request>,
}

/// A request of the history, with all its attempts.
pub(crate) struct Request {
    pub(crate) user: String,
    pub(crate) text: String,
    pub(crate) attempts: u32,
    /// By the database's clock.
    pub(crate) ended: DateTime<Utc>,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Answered(Shown),
    Failed,
    Unknown,
}

/// A message as a reply shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) seq: u64,
    pub(crate) user: String,
    pub(crate) user_seq: u64,
    pub(crate) text: String,
    pub(crate) sent_at: DateTime<Utc>,
}

impl Client {
    pub(crate) fn start(
        arguments: &Arguments,
        scene: &Scene,
        seed: u64,
        time: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let history = scene.folder.join("history.jsonl");
        let mut command = Command::new(&scene.client);
        command
            .args([
                "--concurrency",
                COROUTINES,
                "--retries",
                RETRIES,
                "--timeout",
                TIMEOUT,
            ])
            .args(["--quiet", "--seed", &seed.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .args(["--rate", &arguments.rate.to_string()])
            .arg("--history")
            .arg(&history)
            .args(scene.replicas.iter().map(crate::scene::Replica::url))
            .stdin(Stdio::null())
            .stdout(File::create(scene.folder.join("client.txt"))?);
        Ok(Self {
            process: Process::start(&mut command)?,
            program: scene.client.clone(),
            history,
        })
    }

    /// Waits for its verdict.
    pub(crate) fn finish(mut self) -> Result<Run, Box<dyn Error>> {
        let end = std::time::Instant::now() + PATIENCE;
        let status = loop {
            interruption::sleep(Duration::from_millis(100))?;
            match self.process.status()? {
                Some(status) => break status,
                None if std::time::Instant::now() > end => {
                    return Err(format!("the client does not end within {PATIENCE:?}").into());
                }
                None => {}
            }
        };
        let checked = Command::new(&self.program)
            .arg("check")
            .arg(&self.history)
            .output()?;
        Ok(Run {
            valid: status.code() == Some(VALID),
            verdict: String::from_utf8_lossy(&checked.stdout).into_owned(),
            history: read(&self.history)?,
        })
    }
}

/// A line of the history. Times are those of a clock of the client's own.
#[derive(Deserialize)]
struct Line<'a> {
    user: String,
    text: String,
    attempts: u32,
    start_ns: i64,
    end_ns: i64,
    outcome: Fate,
    #[serde(borrow)]
    reply: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Ok,
    Failed,
    Unknown,
}

fn read(path: &Path) -> Result<Vec<Request>, Box<dyn Error>> {
    let mut requests = Vec::new();
    let mut ends = Vec::new();
    // The quickest request tells best how the client's clock and the database's go together.
    let mut quickest: Option<(i64, DateTime<Utc>)> = None;
    for line in requests_of(path)? {
        let line = line?;
        let line: Line<'_> = serde_json::from_str(&line)?;
        let outcome = match (line.outcome, line.reply) {
            (Fate::Ok, Some(reply)) => {
                let own = serde_json::from_str::<Vec<Shown>>(reply.get())?.pop();
                let own = own.ok_or("a reply without a message")?;
                let took = line.end_ns - line.start_ns;
                if quickest.is_none_or(|(least, _)| took < least) {
                    quickest = Some((
                        took,
                        own.sent_at - TimeDelta::nanoseconds(line.start_ns + took / 2),
                    ));
                }
                Outcome::Answered(own)
            }
            (Fate::Ok, None) => return Err("answered, but without its reply".into()),
            (Fate::Failed, _) => Outcome::Failed,
            (Fate::Unknown, _) => Outcome::Unknown,
        };
        ends.push(line.end_ns);
        requests.push(Request {
            user: line.user,
            text: line.text,
            attempts: line.attempts,
            ended: DateTime::UNIX_EPOCH,
            outcome,
        });
    }
    let (_, zero) = quickest.ok_or("no request was answered")?;
    for (request, end) in requests.iter_mut().zip(ends) {
        request.ended = zero + TimeDelta::nanoseconds(end);
    }
    Ok(requests)
}
