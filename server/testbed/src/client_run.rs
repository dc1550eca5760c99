//! Runs the client, and parses its results.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::interruption::{self, POLL_INTERVAL};
use crate::{Process, program, usage};

/// The command line of a client that prints nothing but its results, as JSON.
pub fn client() -> io::Result<Command> {
    let mut command = program("client")?;
    command.args(["--quiet", "--output-format", "json"]);
    Ok(command)
}

/// The command line of a client that retries through every fault and writes a history. The pause before a retry is at most a
/// second. The timeout is longer than the server's own deadline, so that the client sees its 503 and 504.
pub fn persistent_client(history: &Path) -> io::Result<Command> {
    let mut command = client()?;
    command
        .args(["--retries", "100", "--timeout", "30s", "--history"])
        .arg(history);
    Ok(command)
}

/// A running client. It is killed on drop if it still runs.
#[derive(Debug)]
pub struct ClientRun {
    process: Process,
    output: JoinHandle<io::Result<String>>,
}

/// The results of a client that has ended.
#[derive(Debug)]
pub struct FinishedRun {
    status: ExitStatus,
    /// The CPU time of the whole process in microseconds, including its start and its statistics.
    pub cpu_us: Option<f64>,
    /// The results that it printed.
    pub results: Results,
}

/// The part of the client's JSON that is used here; `client schema` describes all of it.
#[derive(Debug, Deserialize)]
pub struct Results {
    /// `valid`, `invalid`, `unknown` or `not_judged`.
    pub verdict: String,
    /// The measured figures.
    pub figures: Figures,
}

/// The figures that a client measured.
#[derive(Debug, Deserialize)]
pub struct Figures {
    /// Messages per second.
    pub throughput_per_second: f64,
    /// All requests except those of the warm-up.
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
    /// Requests whose message is certainly not stored.
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

impl FinishedRun {
    /// Whether the verdict is "valid" and the exit status is 0.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.results.verdict == "valid" && self.status.success()
    }
}

impl Figures {
    /// The kinds of errors, as the client names them, separated by semicolons.
    #[must_use]
    pub fn error_kinds(&self) -> String {
        let kinds: Vec<&str> = self.errors.iter().map(|error| &*error.kind).collect();
        kinds.join("; ")
    }
}

impl Total {
    /// A percentile of the latency in milliseconds; `None` if there were too few requests for it.
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

    /// Asks it to finish open requests and to check its history (SIGTERM).
    pub fn terminate(&self) -> io::Result<()> {
        self.process.terminate()
    }

    /// Waits for its results, and calls `poll` regularly meanwhile.
    ///
    /// # Errors
    /// If it does not end in time, or ends without results.
    pub fn finish(
        mut self,
        timeout: Duration,
        mut poll: impl FnMut(),
    ) -> Result<FinishedRun, Box<dyn Error>> {
        let start = Instant::now();
        let cpu_us = loop {
            interruption::check()?;
            match usage(self.process.id()) {
                // Not reaped yet: reading the exit status would remove the process and its CPU time.
                Some(usage) if usage.ended => break Some(usage.cpu_us),
                None => break None,
                Some(_) => poll(),
            }
            if start.elapsed() > timeout {
                return Err(format!("the client does not end within {timeout:?}").into());
            }
            thread::sleep(POLL_INTERVAL);
        };
        let status = self.process.child().wait()?;
        // A signal from the terminal reaches the client as well.
        interruption::check()?;
        let output = self.output.join();
        let output = output.map_err(|_panic| "reading the client's output failed")??;
        let results = serde_json::from_str(&output).map_err(|error| {
            format!("the client ended with {status}, and its results are not understood: {error}")
        })?;
        Ok(FinishedRun {
            status,
            cpu_us,
            results,
        })
    }
}
