//! The client; what was answered must be on every member.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faults::{Process, requests_of};
use mysql::prelude::Queryable;
use serde::Deserialize;

use crate::arguments::Arguments;
use crate::group::Group;
use crate::replicas::Replicas;
use faults::interruption::{PAUSE, sleep};

/// Longer than any run: it is ended by a signal.
const DURATION: &str = "3600s";
/// Enough for an election: a repetition waits up to a second.
const RETRIES: &str = "100";
/// Longer than a server waits before it says that it does not know.
const TIMEOUT: &str = "30";
/// What is under way is answered, and judged.
const FINISH: Duration = Duration::from_secs(120);
/// A secondary is behind by what it has not applied yet.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The client as it is, its output to the terminal. Gives whether it was content.
pub(crate) fn main_job(replicas: &Replicas, arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mut command = Command::new(arguments.binaries()?.join("client"));
    let mut client = Process::start(command.args(&arguments.client).args(replicas.urls()))?;
    loop {
        if let Some(status) = client.status()? {
            return Ok(status.success());
        }
        if let Err(interrupted) = sleep(PAUSE) {
            client.terminate()?;
            client.end(FINISH)?;
            return Err(interrupted.into());
        }
    }
}

/// At work.
pub(crate) struct Client {
    process: Process,
    history: PathBuf,
    results: PathBuf,
}

/// What it found.
pub(crate) struct Run {
    pub(crate) verdict: String,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    /// Requests that were sent more than once.
    pub(crate) repeated: usize,
    /// Texts of the messages answered with 200, by number.
    pub(crate) answered: HashMap<u64, String>,
}

impl Client {
    /// Goes on until it is asked to finish.
    pub(crate) fn start(
        replicas: &Replicas,
        number: u32,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let history = arguments.folder.join(format!("history-{number}.jsonl"));
        let results = arguments.folder.join(format!("results-{number}.json"));
        let mut command = Command::new(arguments.binaries()?.join("client"));
        command
            .args([
                "--duration",
                DURATION,
                "--retries",
                RETRIES,
                "--timeout",
                TIMEOUT,
            ])
            .args(["--quiet", "--output-format", "json"])
            .arg("--history")
            .arg(&history)
            .args(arguments.rate.map(|rate| format!("--rate={rate}")))
            .args(&arguments.client)
            .args(replicas.urls())
            .stdin(Stdio::null())
            .stdout(File::create(&results)?);
        let process = Process::start(&mut command)?;
        Ok(Self {
            process,
            history,
            results,
        })
    }

    /// Lets what is under way be answered, and judges.
    pub(crate) fn finish(mut self) -> Result<Run, Box<dyn Error>> {
        self.process.terminate()?;
        let start = Instant::now();
        while self.process.status()?.is_none() {
            if start.elapsed() > FINISH {
                return Err("the client does not end".into());
            }
            sleep(PAUSE)?;
        }
        let results: Results = serde_json::from_reader(File::open(&self.results)?)?;
        let mut run = Run {
            verdict: results.verdict,
            failed: 0,
            unknown: 0,
            repeated: 0,
            answered: HashMap::new(),
        };
        for line in requests_of(&self.history)? {
            let request: Request = serde_json::from_str(&line?)?;
            run.repeated += usize::from(request.attempts > 1);
            match request.outcome.as_str() {
                "ok" => {
                    let own = request.reply.last().ok_or("a reply is empty")?;
                    run.answered.insert(own.seq, request.text);
                }
                "failed" => run.failed += 1,
                _ => run.unknown += 1,
            }
        }
        fs::remove_file(self.history)?;
        Ok(run)
    }
}

impl Run {
    /// How many of the answered messages a member lacks, or has otherwise, when it has caught up.
    pub(crate) fn missing_on(&self, group: &Group, member: usize) -> Result<usize, Box<dyn Error>> {
        let last = self.answered.keys().max().copied().unwrap_or_default();
        let first = self.answered.keys().min().copied().unwrap_or_default();
        let mut session = group.session(member)?;
        let start = Instant::now();
        while start.elapsed() < CATCH_UP {
            let newest: Option<u64> =
                session.query_first("SELECT messages FROM counters WHERE user = ''")?;
            if newest >= Some(last) {
                break;
            }
            sleep(PAUSE)?;
        }
        let rows: Vec<(u64, String)> = session.exec(
            "SELECT seq, text FROM messages WHERE seq BETWEEN ? AND ?",
            (first, last),
        )?;
        let stored: HashMap<u64, String> = rows.into_iter().collect();
        let missing = self
            .answered
            .iter()
            .filter(|(seq, text)| stored.get(seq) != Some(text));
        Ok(missing.count())
    }
}

/// What is read of the client's JSON.
#[derive(Debug, Deserialize)]
struct Results {
    verdict: String,
}

#[derive(Debug, Deserialize)]
struct Request {
    text: String,
    attempts: u32,
    outcome: String,
    #[serde(default)]
    reply: Vec<Shown>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    seq: u64,
}
