//! Measures targets in interleaved rounds, so that other load on the machine affects all alike.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::Serialize;

use crate::tool::say;
use crate::{ClientRun, Service, Spread, client, one_per_message, resident_mb, usage};

/// A first round that does not count, in which connections are opened, caches filled and table statistics made.
const WARM_UP_ROUND: Duration = Duration::from_secs(1);
/// Requests that each measurement sends, over all coroutines, before those that count.
const WARM_UP_REQUESTS: u32 = 500;

/// Pool sizes that are tried for a replica with one transaction per message; the fastest is used.
const POOL_SIZES: [u32; 4] = [2, 4, 8, 25];
const POOL_SIZE_TIME: Duration = Duration::from_secs(1);
const POOL_SIZE_ROUNDS: u32 = 3;

/// A set of replicas and the workload to measure them with.
#[derive(Debug)]
pub struct Target<'a> {
    /// The name of its row in tables.
    pub name: String,
    /// The replicas that the client sends to.
    pub replicas: &'a [Service],
    /// Whether it uses the database. If not, the database's CPU time and commits are not attributed to it.
    pub stores: bool,
    /// The workload of the client.
    pub workload: Workload,
}

impl<'a> Target<'a> {
    /// A target that uses the database.
    pub fn new(name: impl Into<String>, replicas: &'a [Service], workload: Workload) -> Self {
        Self {
            name: name.into(),
            replicas,
            stores: true,
            workload,
        }
    }
}

/// The workload of the client.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Number of concurrent senders.
    pub coroutines: u32,
    /// Number of user names that they use.
    pub users: u32,
    /// Characters of a text; if `None`, the client's default of about thirty.
    pub text_length: Option<u32>,
    /// How much the client sends.
    pub amount: Amount,
}

impl Workload {
    /// The coroutines of the standard workload.
    pub const COROUTINES: u32 = 50;
    /// The users of the standard workload.
    pub const USERS: u32 = 10;

    /// The workload that is measured unless stated otherwise.
    #[must_use]
    pub fn standard(time: Duration) -> Self {
        Self {
            coroutines: Self::COROUTINES,
            users: Self::USERS,
            text_length: None,
            amount: Amount::Time(time),
        }
    }
}

/// How much the client sends.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// As much as is answered in this time.
    Time(Duration),
    /// So many requests of each coroutine.
    Requests(u32),
}

/// The figures of one target in one round. Figures that could not be read are absent.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the names say it, in the JSON of bench as well"
)]
pub struct Measurement {
    pub messages_per_second: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Requests that failed, or whose outcome is unknown.
    pub failed: f64,
    /// The CPU time of the whole client process, including its start and its statistics.
    pub client_cpu_us_per_request: Option<f64>,
    /// The CPU time of all replicas together.
    pub servers_cpu_us_per_request: Option<f64>,
    pub database_cpu_us_per_request: Option<f64>,
    pub messages_per_batch: Option<f64>,
    /// The memory of the largest replica, while the client was connected.
    pub replica_memory_mb: Option<f64>,
}

/// Measures targets, and reads the counters of their database server meanwhile.
#[derive(Debug)]
pub struct Meter {
    connection: Conn,
    /// The process id of the database server; `None` if it was not given and the pid file cannot be read.
    pub process: Option<u32>,
}

impl Meter {
    /// A meter for the database server of this connection. Without `process` the server's pid file is read.
    pub fn on(mut connection: Conn, process: Option<u32>) -> Result<Self, Box<dyn Error>> {
        let process = match process {
            Some(process) => Some(process),
            None => find_process(&mut connection)?,
        };
        Ok(Self {
            connection,
            process,
        })
    }

    /// The number of COMMITs so far, of all clients of the database server.
    pub fn commits(&mut self) -> Result<f64, Box<dyn Error>> {
        let status: Option<(String, f64)> = self
            .connection
            .query_first("SHOW GLOBAL STATUS LIKE 'Com_commit'")?;
        Ok(status.ok_or("the database does not count COMMITs")?.1)
    }

    /// Measures every target once per round, one after the other. Returns the measurements of each target in order of the rounds.
    pub fn interleave(
        &mut self,
        title: &str,
        targets: &[Target<'_>],
        rounds: u32,
    ) -> Result<Vec<Vec<Measurement>>, Box<dyn Error>> {
        for target in targets {
            if let Amount::Time(time) = target.workload.amount {
                let amount = Amount::Time(time.min(WARM_UP_ROUND));
                let workload = Workload {
                    amount,
                    ..target.workload
                };
                self.measure(target, workload, 0)?;
            }
        }
        let mut series = vec![Vec::new(); targets.len()];
        for round in 1..=rounds {
            say(&format!("{title}: round {round} of {rounds}"));
            for (target, measurements) in targets.iter().zip(&mut series) {
                measurements.push(self.measure(target, target.workload, round)?);
            }
        }
        Ok(series)
    }

    /// Starts so many replicas with one transaction per message for each pool size, and keeps the fastest set. Returns its pool
    /// size and its replicas.
    pub fn fastest_one_per_message(
        &mut self,
        database_url: &str,
        replicas: usize,
    ) -> Result<(u32, Vec<Service>), Box<dyn Error>> {
        let mut candidates = Vec::new();
        for size in POOL_SIZES {
            let command = || one_per_message(database_url, size);
            candidates.push((size, Service::start_ready(replicas, command)?));
        }
        let workload = Workload::standard(POOL_SIZE_TIME);
        let targets: Vec<_> = candidates
            .iter()
            .map(|(size, replicas)| {
                let name = format!("one transaction a message, {size} connections");
                Target::new(name, replicas, workload)
            })
            .collect();
        let title = "the best pool size of one transaction a message";
        let series = self.interleave(title, &targets, POOL_SIZE_ROUNDS)?;
        let throughput = |rounds: &Vec<Measurement>| {
            Spread::of(rounds.iter().map(|round| round.messages_per_second))
                .map_or(0.0, |spread| spread.median)
        };
        let fastest = (0..series.len())
            .max_by(|&one, &other| throughput(&series[one]).total_cmp(&throughput(&series[other])));
        Ok(candidates.swap_remove(fastest.ok_or("no size to try")?))
    }

    /// Measures one target once. The seed is that of the round, so that all targets get the same workload in a round.
    pub fn measure(
        &mut self,
        target: &Target<'_>,
        workload: Workload,
        seed: u32,
    ) -> Result<Measurement, Box<dyn Error>> {
        let replicas = target.replicas;
        let database = self.process.filter(|_| target.stores);
        let cpu_of_replicas = || {
            let each = replicas.iter().map(|replica| usage(replica.process.id()));
            each.map(|usage| usage.map(|usage| usage.cpu_us))
                .sum::<Option<f64>>()
        };
        let cpu_of_database = || Some(usage(database?)?.cpu_us);

        let commits = self.commits()?;
        let (servers_before, database_before) = (cpu_of_replicas(), cpu_of_database());
        let warm_up = (WARM_UP_REQUESTS / workload.coroutines).max(1);
        let mut memory: Option<f64> = None;
        let mut command = client_command(workload, warm_up, seed)?;
        for replica in replicas {
            command.arg(replica.url()?);
        }
        let run = ClientRun::start(&mut command)?.finish(Duration::MAX, || {
            let now = replicas
                .iter()
                .filter_map(|replica| resident_mb(replica.process.id()));
            memory = now.chain(memory).max_by(f64::total_cmp);
        })?;
        let (servers_after, database_after) = (cpu_of_replicas(), cpu_of_database());
        let commits = self.commits()? - commits;

        let figures = &run.results.figures;
        let total = &figures.total;
        if total.ok == 0 {
            let (name, reasons) = (&target.name, figures.error_kinds());
            return Err(format!("no request to {name} succeeded: {reasons}").into());
        }
        let requests = to_f64(total.sent) + f64::from(warm_up * workload.coroutines);
        let spent = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / requests);
        Ok(Measurement {
            messages_per_second: figures.throughput_per_second,
            p50_ms: total.percentile_ms(50.0),
            p99_ms: total.percentile_ms(99.0),
            failed: to_f64(total.failed + total.unknown),
            client_cpu_us_per_request: run.cpu_us.map(|cpu_us| cpu_us / requests),
            servers_cpu_us_per_request: spent(servers_before, servers_after),
            database_cpu_us_per_request: spent(database_before, database_after),
            messages_per_batch: (target.stores && commits > 0.0).then(|| requests / commits),
            replica_memory_mb: memory,
        })
    }
}

/// The process id of a database server from its own pid file; `None` if that cannot be read here or names another program.
fn find_process(connection: &mut Conn) -> Result<Option<u32>, Box<dyn Error>> {
    let files: Option<(String, String)> = connection.query_first("SELECT @@pid_file, @@datadir")?;
    let Some((file, folder)) = files else {
        return Ok(None);
    };
    let process = fs::read_to_string(Path::new(&folder).join(file))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|process: &u32| {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            name.starts_with("mariadbd") || name.starts_with("mysqld")
        });
    Ok(process)
}

fn client_command(workload: Workload, warm_up: u32, seed: u32) -> io::Result<Command> {
    let mut command = client()?;
    // No check of the history: the constant reply would fail it, and it takes CPU time.
    command.arg("--no-check");
    let mut option = |name: &str, value: String| {
        command.args([name, &value]);
    };
    option("--concurrency", workload.coroutines.to_string());
    option("--users", workload.users.to_string());
    option("--warmup", warm_up.to_string());
    option("--seed", seed.to_string());
    match workload.amount {
        Amount::Time(time) => option("--duration", format!("{}ms", time.as_millis())),
        Amount::Requests(each) => option("--requests", each.to_string()),
    }
    if let Some(length) = workload.text_length {
        option("--text-length", length.to_string());
    }
    Ok(command)
}

#[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^52")]
fn to_f64(requests: u64) -> f64 {
    requests as f64
}
