//! The client at work, and its results.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::interruption::{self, PAUSE};
use crate::{Process, program, usage};

/// The command line of a client that prints nothing but its results, as JSON.
pub fn client() -> io::Result<Command> {
    let mut command = program("client")?;
    command.args(["--quiet", "--output-format", "json"]);
    Ok(command)
}

/// The command line of one that outlasts every fault, and writes a history: a repetition waits up to a second, and a reply is
/// awaited longer than the server's own deadline, so that its 503 and 504 are seen.
pub fn persistent_client(history: &Path) -> io::Result<Command> {
    let mut command = client()?;
    command
        .args(["--retries", "100", "--timeout", "30s", "--history"])
        .arg(history);
    Ok(command)
}

/// A client at work. Killed at the end, if it still runs.
#[derive(Debug)]
pub struct ClientRun {
    process: Process,
    output: JoinHandle<io::Result<String>>,
}

/// A client that has ended.
#[derive(Debug)]
pub struct Finished {
    status: ExitStatus,
    /// The processor time of the whole process in microseconds, start and statistics included.
    pub cpu_us: Option<f64>,
    /// What it printed.
    pub results: Results,
}

/// What is read of the client's JSON; `client schema` has all of it.
#[derive(Debug, Deserialize)]
pub struct Results {
    /// `valid`, `invalid`, `unknown` or `not_judged`.
    pub verdict: String,
    /// What was measured.
    pub figures: Figures,
}

/// What a client measured.
#[derive(Debug, Deserialize)]
pub struct Figures {
    /// Messages a second.
    pub throughput_per_second: f64,
    /// All requests but those of the warm-up.
    pub total: Total,
    /// Requests that were sent more than once.
    pub repeated: u64,
    errors: Vec<ErrorCount>,
}

/// Requests by their outcome.
#[derive(Debug, Deserialize)]
pub struct Total {
    /// All requests.
    pub sent: u64,
    /// Requests that were answered with 200.
    pub ok: u64,
    /// Requests whose message is surely not stored.
    pub failed: u64,
    /// Requests whose message may be stored.
    pub unknown: u64,
    latency: Option<Latency>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    percentiles: Vec<Percentile>,
}

#[derive(Debug, Deserialize)]
struct Percentile {
    percent: f64,
    value_ms: f64,
}

#[derive(Debug, Deserialize)]
struct ErrorCount {
    kind: String,
}

impl Finished {
    /// Tells whether its verdict is "valid", and nothing else was wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.results.verdict == "valid" && self.status.success()
    }
}

impl Figures {
    /// Why requests failed, in the client's words.
    #[must_use]
    pub fn reasons(&self) -> String {
        let kinds: Vec<&str> = self.errors.iter().map(|error| &*error.kind).collect();
        kinds.join("; ")
    }
}

impl Total {
    /// A percentile of the latency in milliseconds, if there are requests enough to tell it.
    #[must_use]
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let mut all = self.latency.as_ref()?.percentiles.iter();
        all.find(|figure| (figure.percent - percent).abs() < 1e-6)
            .map(|figure| figure.value_ms)
    }
}

impl ClientRun {
    /// Starts a command that was made by [`client`].
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let output = process.child().stdout.take();
        let mut output = output.ok_or_else(|| io::Error::other("a process without its pipe"))?;
        let output = thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_length| text)
        });
        Ok(Self { process, output })
    }

    /// Asks it to finish what is under way, and to judge.
    pub fn terminate(&self) -> io::Result<()> {
        self.process.terminate()
    }

    /// Waits for its results. Meanwhile `look` is called again and again.
    ///
    /// # Errors
    /// If it does not end in time, or without results.
    pub fn finish(
        mut self,
        patience: Duration,
        mut look: impl FnMut(),
    ) -> Result<Finished, Box<dyn Error>> {
        let start = Instant::now();
        let cpu_us = loop {
            interruption::check()?;
            match usage(self.process.id()) {
                // Asked how it ended, it would be gone, and its processor time with it.
                Some(usage) if usage.ended => break Some(usage.cpu_us),
                None => break None,
                Some(_) => look(),
            }
            if start.elapsed() > patience {
                return Err(format!("the client does not end within {patience:?}").into());
            }
            thread::sleep(PAUSE);
        };
        let status = self.process.child().wait()?;
        // A signal from the terminal reaches both.
        interruption::check()?;
        let output = self.output.join();
        let output = output.map_err(|_panic| "reading the client's output failed")??;
        let results = serde_json::from_str(&output).map_err(|error| {
            format!("the client ended with {status}, and its results are not understood: {error}")
        })?;
        Ok(Finished {
            status,
            cpu_us,
            results,
        })
    }
}
