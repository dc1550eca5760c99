//! Contestants measured in interleaved rounds, so that whatever else the machine does meets all alike; what is read in each.

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

/// A first round that does not count: connections are opened, caches filled, statistics made.
const REHEARSAL: Duration = Duration::from_secs(1);
/// How many requests each measurement sends, over all coroutines, before those that count.
const WARM_UP: u32 = 500;

/// The numbers of connections of a replica with one transaction a message that are tried; the fastest counts.
const POOL_SIZES: [u32; 4] = [2, 4, 8, 25];
const POOL_SIZE_TIME: Duration = Duration::from_secs(1);
const POOL_SIZE_ROUNDS: u32 = 3;

/// Somebody to be measured.
#[derive(Debug)]
pub struct Contestant<'a> {
    /// Its row in tables.
    pub name: String,
    /// Where the client sends to.
    pub replicas: &'a [Service],
    /// Tells whether it works with the database. If not, what the database does meanwhile is none of its.
    pub stores: bool,
    /// What the client sends.
    pub traffic: Traffic,
}

impl<'a> Contestant<'a> {
    /// One that stores.
    pub fn new(name: impl Into<String>, replicas: &'a [Service], traffic: Traffic) -> Self {
        Self {
            name: name.into(),
            replicas,
            stores: true,
            traffic,
        }
    }
}

/// What the client sends.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// How many send at once.
    pub coroutines: u32,
    /// In how many names they send.
    pub users: u32,
    /// The client's own choice, about thirty characters, if `None`.
    pub text_length: Option<u32>,
    /// How much.
    pub amount: Amount,
}

impl Traffic {
    /// The coroutines of the usual traffic.
    pub const COROUTINES: u32 = 50;
    /// The users of the usual traffic.
    pub const USERS: u32 = 10;

    /// What is measured where nothing else is said.
    #[must_use]
    pub fn usual(time: Duration) -> Self {
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
    /// Requests of each coroutine.
    Requests(u32),
}

/// The figures of one contestant in one round. What could not be read is absent.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the names say it, in the JSON of bench as well"
)]
pub struct Measurement {
    pub messages_per_second: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Requests that failed, or whose outcome is not known.
    pub failed: f64,
    /// The processor time of the whole client, start and statistics included.
    pub client_cpu_us_per_request: Option<f64>,
    /// The processor time of all replicas together.
    pub servers_cpu_us_per_request: Option<f64>,
    pub database_cpu_us_per_request: Option<f64>,
    pub messages_per_batch: Option<f64>,
    /// The memory of the largest replica, while the client was connected.
    pub replica_memory_mb: Option<f64>,
}

/// Measures contestants, and reads what the server of their database counts meanwhile.
#[derive(Debug)]
pub struct Meter {
    connection: Conn,
    /// The process id of the database server; `None` if nobody told, and its pid file cannot be read.
    pub process: Option<u32>,
}

impl Meter {
    /// Reads from the server of this connection.
    pub fn on(mut connection: Conn, process: Option<u32>) -> Result<Self, Box<dyn Error>> {
        let process = match process {
            Some(process) => Some(process),
            None => process_of(&mut connection)?,
        };
        Ok(Self {
            connection,
            process,
        })
    }

    /// The number of COMMITs so far, of all its clients.
    pub fn commits(&mut self) -> Result<f64, Box<dyn Error>> {
        let status: Option<(String, f64)> = self
            .connection
            .query_first("SHOW GLOBAL STATUS LIKE 'Com_commit'")?;
        Ok(status.ok_or("the database does not count COMMITs")?.1)
    }

    /// Measures everybody once a round, one after the other. Gives each contestant's measurements in the order of the rounds.
    pub fn interleave(
        &mut self,
        title: &str,
        contestants: &[Contestant<'_>],
        rounds: u32,
    ) -> Result<Vec<Vec<Measurement>>, Box<dyn Error>> {
        for contestant in contestants {
            if let Amount::Time(time) = contestant.traffic.amount {
                let amount = Amount::Time(time.min(REHEARSAL));
                let traffic = Traffic {
                    amount,
                    ..contestant.traffic
                };
                self.measure(contestant, traffic, 0)?;
            }
        }
        let mut series = vec![Vec::new(); contestants.len()];
        for round in 1..=rounds {
            say(&format!("{title}: round {round} of {rounds}"));
            for (contestant, measurements) in contestants.iter().zip(&mut series) {
                measurements.push(self.measure(contestant, contestant.traffic, round)?);
            }
        }
        Ok(series)
    }

    /// Starts so many replicas with one transaction a message, on each number of connections that is tried, and keeps the
    /// fastest; gives their number of connections, too.
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
        let traffic = Traffic::usual(POOL_SIZE_TIME);
        let contestants: Vec<_> = candidates
            .iter()
            .map(|(size, replicas)| {
                let name = format!("one transaction a message, {size} connections");
                Contestant::new(name, replicas, traffic)
            })
            .collect();
        let title = "the best pool size of one transaction a message";
        let series = self.interleave(title, &contestants, POOL_SIZE_ROUNDS)?;
        let throughput = |rounds: &Vec<Measurement>| {
            Spread::of(rounds.iter().map(|round| round.messages_per_second))
                .map_or(0.0, |spread| spread.median)
        };
        let fastest = (0..series.len())
            .max_by(|&one, &other| throughput(&series[one]).total_cmp(&throughput(&series[other])));
        Ok(candidates.swap_remove(fastest.ok_or("no size to try")?))
    }

    /// Measures one contestant once. The seed is the round's, so that all get the same traffic in it.
    pub fn measure(
        &mut self,
        contestant: &Contestant<'_>,
        traffic: Traffic,
        seed: u32,
    ) -> Result<Measurement, Box<dyn Error>> {
        let replicas = contestant.replicas;
        let database = self.process.filter(|_| contestant.stores);
        let cpu_of_replicas = || {
            let each = replicas.iter().map(|replica| usage(replica.process.id()));
            each.map(|usage| usage.map(|usage| usage.cpu_us))
                .sum::<Option<f64>>()
        };
        let cpu_of_database = || Some(usage(database?)?.cpu_us);

        let commits = self.commits()?;
        let (servers_before, database_before) = (cpu_of_replicas(), cpu_of_database());
        let warm_up = (WARM_UP / traffic.coroutines).max(1);
        let mut memory: Option<f64> = None;
        let mut command = command(traffic, warm_up, seed)?;
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
            let (name, reasons) = (&contestant.name, figures.reasons());
            return Err(format!("no request to {name} succeeded: {reasons}").into());
        }
        let requests = count(total.sent) + f64::from(warm_up * traffic.coroutines);
        let spent = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / requests);
        Ok(Measurement {
            messages_per_second: figures.throughput_per_second,
            p50_ms: total.percentile_ms(50.0),
            p99_ms: total.percentile_ms(99.0),
            failed: count(total.failed + total.unknown),
            client_cpu_us_per_request: run.cpu_us.map(|cpu_us| cpu_us / requests),
            servers_cpu_us_per_request: spent(servers_before, servers_after),
            database_cpu_us_per_request: spent(database_before, database_after),
            messages_per_batch: (contestant.stores && commits > 0.0).then(|| requests / commits),
            replica_memory_mb: memory,
        })
    }
}

/// The process id of a server, as its own pid file says, if that can be read here and names a database server.
fn process_of(connection: &mut Conn) -> Result<Option<u32>, Box<dyn Error>> {
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

fn command(traffic: Traffic, warm_up: u32, seed: u32) -> io::Result<Command> {
    let mut command = client()?;
    // Not judged: half of the contestants would be judged on a constant, and judging has a price.
    command.arg("--no-check");
    let mut option = |name: &str, value: String| {
        command.args([name, &value]);
    };
    option("--concurrency", traffic.coroutines.to_string());
    option("--users", traffic.users.to_string());
    option("--warmup", warm_up.to_string());
    option("--seed", seed.to_string());
    match traffic.amount {
        Amount::Time(time) => option("--duration", format!("{}ms", time.as_millis())),
        Amount::Requests(each) => option("--requests", each.to_string()),
    }
    if let Some(length) = traffic.text_length {
        option("--text-length", length.to_string());
    }
    Ok(command)
}

#[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^52")]
fn count(requests: u64) -> f64 {
    requests as f64
}
