//! Rounds, and what is read in each.

use std::error::Error;
use std::io;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use testbed::tool::say;
use testbed::{ClientRun, Service, client, resident_mb, usage};

use crate::database::DatabaseServer;

/// A first round that does not count: connections are opened, caches filled, statistics made.
const REHEARSAL: Duration = Duration::from_secs(1);
/// How many requests each measurement sends, over all coroutines, before those that count.
const WARM_UP: u32 = 500;

/// Somebody to be measured.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) replicas: &'a [Service],
    /// Tells whether it works with the database. If not, what the database does meanwhile is none of its.
    pub(crate) stores: bool,
    pub(crate) load: Load,
}

impl<'a> Contestant<'a> {
    /// One that stores.
    pub(crate) fn new(name: impl Into<String>, replicas: &'a [Service], load: Load) -> Self {
        Self {
            name: name.into(),
            replicas,
            stores: true,
            load,
        }
    }
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

/// How much the client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Time(Duration),
    /// Requests of each coroutine.
    Requests(u32),
}

/// The figures of one contestant in one round. What could not be read is absent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) messages_per_second: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Requests that failed, or whose outcome is not known.
    pub(crate) failed: f64,
    /// The processor time of the whole client, start and statistics included.
    pub(crate) client_cpu_us_per_request: Option<f64>,
    /// The processor time of all replicas together.
    pub(crate) servers_cpu_us_per_request: Option<f64>,
    pub(crate) database_cpu_us_per_request: Option<f64>,
    pub(crate) messages_per_batch: Option<f64>,
    /// The memory of the largest replica, while the client was connected.
    pub(crate) replica_memory_mb: Option<f64>,
}

impl DatabaseServer {
    /// Measures everybody once a round, one after the other. Gives each contestant's measurements in the order of the rounds.
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

    /// Measures one contestant once. The seed is the round's, so that all get the same traffic in it.
    fn measure(
        &mut self,
        contestant: &Contestant<'_>,
        load: Load,
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
        let warm_up = (WARM_UP / load.coroutines).max(1);
        let mut memory: Option<f64> = None;
        let mut command = command(load, warm_up, seed)?;
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
        let requests = count(total.sent) + f64::from(warm_up * load.coroutines);
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

fn command(load: Load, warm_up: u32, seed: u32) -> io::Result<Command> {
    let mut command = client()?;
    // Not judged: half of the contestants would be judged on a constant, and judging has a price.
    command.arg("--no-check");
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
    Ok(command)
}

#[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^52")]
pub(crate) fn count(requests: u64) -> f64 {
    requests as f64
}
