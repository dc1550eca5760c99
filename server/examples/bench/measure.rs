//! Rounds, and what is read in each.

use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use faults::Process;
use faults::interruption::{self, PAUSE};
use serde::{Deserialize, Serialize};

use crate::database::DatabaseServer;
use crate::processes::{Replica, resident_mb, usage};

/// A first round that does not count: connections are opened, caches filled, statistics made.
const REHEARSAL: Duration = Duration::from_secs(1);
/// Requests of each measurement, over all coroutines, before those that count.
const WARM_UP: u32 = 500;

/// Somebody to be measured.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) replicas: &'a [Replica],
    /// Whether it works with the database. If not, what the database does meanwhile is none of its.
    pub(crate) stores: bool,
    pub(crate) load: Load,
}

/// What the client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) coroutines: u32,
    pub(crate) users: u32,
    /// The client's own choice, about thirty characters, if `None`.
    pub(crate) text_length: Option<u32>,
    pub(crate) amount: Amount,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Time(Duration),
    /// Of each coroutine.
    Requests(u32),
}

/// One contestant in one round. What could not be read is absent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) messages_per_second: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Requests that failed, or whose outcome is not known.
    pub(crate) failed: f64,
    /// Of the whole process, start and statistics included.
    pub(crate) client_cpu_us_per_request: Option<f64>,
    /// Of all replicas together.
    pub(crate) servers_cpu_us_per_request: Option<f64>,
    pub(crate) database_cpu_us_per_request: Option<f64>,
    pub(crate) messages_per_batch: Option<f64>,
    /// Of the largest replica, while the client was connected.
    pub(crate) replica_memory_mb: Option<f64>,
}

/// What all measurements need.
pub(crate) struct Judge {
    pub(crate) client: PathBuf,
    pub(crate) database: DatabaseServer,
}

impl Judge {
    /// Everybody once a round, one after the other. Gives each contestant's measurements in the order of the rounds.
    pub(crate) fn interleave(
        &mut self,
        title: &str,
        contestants: &[Contestant<'_>],
        rounds: u32,
    ) -> Result<Vec<Vec<Measurement>>, Box<dyn Error>> {
        for contestant in contestants {
            if let Amount::Time(time) = contestant.load.amount {
                let amount = Amount::Time(time.min(REHEARSAL));
                let load = Load {
                    amount,
                    ..contestant.load
                };
                self.measure(contestant, load, 0)?;
            }
        }
        let mut series = vec![Vec::new(); contestants.len()];
        for round in 1..=rounds {
            say(&format!("{title}: round {round} of {rounds}"));
            for (contestant, measurements) in contestants.iter().zip(&mut series) {
                measurements.push(self.measure(contestant, contestant.load, round)?);
            }
        }
        Ok(series)
    }

    /// The seed is the round's, so that all get the same traffic in it.
    fn measure(
        &mut self,
        contestant: &Contestant<'_>,
        load: Load,
        seed: u32,
    ) -> Result<Measurement, Box<dyn Error>> {
        let replicas = contestant.replicas;
        let database = self.database.process.filter(|_| contestant.stores);
        let cpu_of_replicas = || {
            let each = replicas.iter().map(|replica| usage(replica.process.id()));
            each.map(|usage| usage.map(|usage| usage.cpu_us))
                .sum::<Option<f64>>()
        };
        let cpu_of_database = || Some(usage(database?)?.cpu_us);

        let commits = self.database.commits()?;
        let (servers_before, database_before) = (cpu_of_replicas(), cpu_of_database());
        let warm_up = (WARM_UP / load.coroutines).max(1);
        let run = self.run_client(replicas, load, warm_up, seed)?;
        let (servers_after, database_after) = (cpu_of_replicas(), cpu_of_database());
        let commits = self.database.commits()? - commits;

        let total = &run.figures.total;
        if total.ok == 0 {
            let reasons = run.figures.errors.iter();
            let reasons: Vec<_> = reasons.map(|error| error.kind.as_str()).collect();
            return Err(format!(
                "no request to {} succeeded: {}",
                contestant.name,
                reasons.join("; ")
            )
            .into());
        }
        let requests = count(total.sent) + f64::from(warm_up * load.coroutines);
        let spent = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / requests);
        let percentile = |percent: f64| {
            let mut all = total.latency.as_ref()?.percentiles.iter();
            all.find(|figure| (figure.percent - percent).abs() < 1e-6)
                .map(|figure| figure.value_ms)
        };
        Ok(Measurement {
            messages_per_second: run.figures.throughput_per_second,
            p50_ms: percentile(50.0),
            p99_ms: percentile(99.0),
            failed: count(total.failed + total.unknown),
            client_cpu_us_per_request: run.cpu_us.map(|cpu_us| cpu_us / requests),
            servers_cpu_us_per_request: spent(servers_before, servers_after),
            database_cpu_us_per_request: spent(database_before, database_after),
            messages_per_batch: (contestant.stores && commits > 0.0).then(|| requests / commits),
            replica_memory_mb: run.replica_memory_mb,
        })
    }

    fn run_client(
        &self,
        replicas: &[Replica],
        load: Load,
        warm_up: u32,
        seed: u32,
    ) -> Result<Run, Box<dyn Error>> {
        interruption::check()?;
        let mut command = self.client_command(load, warm_up, seed);
        command.args(replicas.iter().map(Replica::url));
        let mut client = Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let mut output = client
            .child()
            .stdout
            .take()
            .ok_or("the client has no output")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_length| text)
        });
        let mut memory: Option<f64> = None;
        let cpu_us = loop {
            interruption::check()?;
            match usage(client.id()) {
                // Asked how it ended, it would be gone, and its CPU time with it.
                Some(usage) if usage.ended => break Some(usage.cpu_us),
                None => break None,
                Some(_) => {}
            }
            let now = replicas
                .iter()
                .filter_map(|replica| resident_mb(replica.process.id()));
            memory = now.fold(memory, |most, mb| {
                Some(most.map_or(mb, |most: f64| most.max(mb)))
            });
            std::thread::sleep(PAUSE);
        };
        let status = client.child().wait()?;
        interruption::check()?;
        let output = reader
            .join()
            .map_err(|_panic| "reading the client's output failed")??;
        Ok(Run {
            figures: figures(&output, status)?,
            cpu_us,
            replica_memory_mb: memory,
        })
    }

    fn client_command(&self, load: Load, warm_up: u32, seed: u32) -> Command {
        let mut command = Command::new(&self.client);
        // Not judged: half of the contestants would be judged on a constant, and judging has a price.
        command.args(["--no-check", "--quiet", "--output-format", "json"]);
        let mut option = |name: &str, value: String| {
            command.args([name, &value]);
        };
        option("--concurrency", load.coroutines.to_string());
        option("--users", load.users.to_string());
        option("--warmup", warm_up.to_string());
        option("--seed", seed.to_string());
        match load.amount {
            Amount::Time(time) => option("--duration", format!("{}ms", time.as_millis())),
            Amount::Requests(each) => option("--requests", each.to_string()),
        }
        if let Some(length) = load.text_length {
            option("--text-length", length.to_string());
        }
        command
    }
}

#[expect(
    clippy::print_stderr,
    reason = "progress, for who waits; the results go to stdout"
)]
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}

struct Run {
    figures: Figures,
    cpu_us: Option<f64>,
    replica_memory_mb: Option<f64>,
}

fn figures(output: &str, status: ExitStatus) -> Result<Figures, String> {
    if !status.success() {
        return Err(format!(
            "the client ended with {status}; it has said why above"
        ));
    }
    let document: Document = serde_json::from_str(output).map_err(|error| {
        format!("the client's results are not understood, is it of the same build? {error}")
    })?;
    Ok(document.figures)
}

/// What is read of the client's JSON; `client schema` has all of it.
#[derive(Debug, Deserialize)]
struct Document {
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    throughput_per_second: f64,
    total: Total,
    errors: Vec<ErrorCount>,
}

#[derive(Debug, Deserialize)]
struct Total {
    sent: u64,
    ok: u64,
    failed: u64,
    unknown: u64,
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

#[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^52")]
pub(crate) fn count(requests: u64) -> f64 {
    requests as f64
}
