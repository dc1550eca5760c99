//! What the group costs: it, a single server, one transaction per message on the group, and the group where COMMIT waits
//! for all members, in interleaved rounds.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use faults::{DatabaseProcess, Process};
use mysql::prelude::Queryable;
use serde::Deserialize;

use crate::arguments::Arguments;
use crate::group::Group;
use crate::member::free_ports;
use crate::replicas::Replicas;
use crate::say;
use faults::interruption::{PAUSE, sleep};

/// Connections of each replica that makes one transaction per message; the fastest are compared.
const POOL_SIZES: [u32; 4] = [2, 4, 8, 25];
/// Of each coroutine, before those that count.
const WARM_UP: &str = "10";

/// The rounds of all.
pub(crate) struct Comparison {
    rounds: u32,
    time: Duration,
    group: Contestant,
    others: [Contestant; 3],
}

struct Contestant {
    name: String,
    replicas: Replicas,
    rounds: Vec<Figures>,
}

/// What is read of the client's JSON.
#[derive(Deserialize)]
struct Document {
    figures: Figures,
}

#[derive(Deserialize)]
struct Figures {
    throughput_per_second: f64,
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    failed: u64,
    unknown: u64,
}

impl Comparison {
    /// Starts what is compared with the group, and measures each once a round.
    pub(crate) fn run(
        group: &Group,
        program: &Path,
        folder: &Path,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let binaries = &arguments.binaries()?;
        let log = |name: &str| folder.join(format!("{name}.log"));
        let (_single, single_url) = single(program, &folder.join("single"))?;
        let of_server = |name: &str, urls: &str| {
            let replicas = Replicas::of_server(binaries, urls, &log(name))?;
            Ok::<_, Box<dyn Error>>(Contestant::new(name, replicas))
        };
        let patient = || {
            let mut operator = group.operator(group.primary(None)?)?;
            operator.query_drop("SET GLOBAL group_replication_consistency = 'AFTER'")?;
            let contestant = of_server("the group, with AFTER", &group.urls())?;
            // Connections that are open now keep what they found.
            contestant.measure(binaries, folder, arguments.time, 0)?;
            operator.query_drop("SET GLOBAL group_replication_consistency = DEFAULT")?;
            Ok::<_, Box<dyn Error>>(contestant)
        };
        let mut comparison = Self {
            rounds: arguments.rounds,
            time: arguments.time,
            others: [
                of_server("a single server", &single_url)?,
                fastest_one_per_message(group, binaries, folder, arguments.time)?,
                patient()?,
            ],
            group: of_server("the group", &group.urls())?,
        };
        for round in 0..=arguments.rounds {
            for contestant in comparison.contestants_mut() {
                let figures = contestant.measure(binaries, folder, arguments.time, round)?;
                // The first round opens connections and fills caches.
                if round > 0 {
                    contestant.rounds.push(figures);
                }
            }
            say(&format!("round {round} of {}", arguments.rounds));
        }
        Ok(comparison)
    }

    fn contestants(&self) -> impl Iterator<Item = &Contestant> {
        [&self.group].into_iter().chain(&self.others)
    }

    fn contestants_mut(&mut self) -> impl Iterator<Item = &mut Contestant> {
        [&mut self.group].into_iter().chain(&mut self.others)
    }

    /// Whether all was answered.
    pub(crate) fn is_well(&self) -> bool {
        self.contestants()
            .flat_map(|contestant| &contestant.rounds)
            .all(|figures| figures.total.failed + figures.total.unknown == 0)
    }
}

/// A server with its default settings, on data of its own, and its URL.
fn single(program: &Path, folder: &Path) -> Result<(DatabaseProcess, String), Box<dyn Error>> {
    DatabaseProcess::initialize(program, folder)?;
    let port = free_ports(1)?[0];
    let mut process = DatabaseProcess::on(program, folder)?
        .option("--skip-networking=OFF")
        .option("--bind-address=127.0.0.1")
        .option(format!("--port={port}"));
    process.start()?;
    let (user, name) = (DatabaseProcess::USER, DatabaseProcess::NAME);
    // Over TCP, as with the group.
    let url = format!("mysql://{user}@127.0.0.1:{port}/{name}?prefer_socket=false");
    Ok((process, url))
}

/// In a database of its own on the group's primary.
fn fastest_one_per_message(
    group: &Group,
    binaries: &Path,
    folder: &Path,
    time: Duration,
) -> Result<Contestant, Box<dyn Error>> {
    const DATABASE: &str = "one_per_message";
    let primary = group.primary(None)?;
    let mut operator = group.operator(primary)?;
    let user = DatabaseProcess::USER;
    operator.query_drop(format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"))?;
    operator.query_drop(format!("GRANT ALL ON {DATABASE}.* TO {user}@'%'"))?;
    let url = group.url(primary, DATABASE);
    let mut fastest: Option<(f64, Contestant)> = None;
    for size in POOL_SIZES {
        let replicas = Replicas::start(&folder.join("one_per_message.log"), |address| {
            let mut command = Command::new(binaries.join("examples/one_per_message"));
            command
                .args([address.to_string(), size.to_string()])
                .env("DATABASE_URL", &url);
            command
        })?;
        let contestant = Contestant::new(
            &format!("one transaction a message, {size} connections"),
            replicas,
        );
        let throughput = contestant
            .measure(binaries, folder, time, 0)?
            .throughput_per_second;
        if fastest.as_ref().is_none_or(|(best, _)| throughput > *best) {
            fastest = Some((throughput, contestant));
        }
    }
    let (_throughput, contestant) = fastest.ok_or("no size to try")?;
    Ok(contestant)
}

impl Contestant {
    fn new(name: &str, replicas: Replicas) -> Self {
        Self {
            name: name.to_owned(),
            replicas,
            rounds: Vec::new(),
        }
    }

    /// The seed is the round's, so that all get the same traffic in it. Not judged: that has a price.
    fn measure(
        &self,
        binaries: &Path,
        folder: &Path,
        time: Duration,
        round: u32,
    ) -> Result<Figures, Box<dyn Error>> {
        let results = folder.join("comparison.json");
        let mut command = Command::new(binaries.join("client"));
        command
            .args(["--no-check", "--quiet", "--output-format", "json"])
            .args(["--warmup", WARM_UP, "--seed", &round.to_string()])
            .args(["--duration", &format!("{}ms", time.as_millis())])
            .args(self.replicas.urls())
            .stdin(Stdio::null())
            .stdout(File::create(&results)?);
        let mut client = Process::start(&mut command)?;
        while client.status()?.is_none() {
            sleep(PAUSE)?;
        }
        let document: Document = serde_json::from_str(&fs::read_to_string(&results)?)?;
        Ok(document.figures)
    }

    fn throughputs(&self) -> impl Iterator<Item = f64> {
        self.rounds
            .iter()
            .map(|figures| figures.throughput_per_second)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rounds, time) = (self.rounds, humantime::format_duration(self.time));
        writeln!(
            to,
            "messages/s, 50 coroutines, 2 replicas: median (least to most) of {rounds} rounds of {time}"
        )?;
        for contestant in self.contestants() {
            let (least, median, most) = spread(contestant.throughputs());
            let name = &contestant.name;
            writeln!(to, "  {name:<54} {median:6.0}  ({least:.0} to {most:.0})")?;
        }
        writeln!(to, "ratio within a round")?;
        for other in &self.others {
            let both = self.group.throughputs().zip(other.throughputs());
            let (least, median, most) = spread(both.map(|(group, other)| group / other));
            let name = format!("the group / {}", other.name);
            writeln!(to, "  {name:<54} {median:6.2}  ({least:.2} to {most:.2})")?;
        }
        Ok(())
    }
}

/// Least, median and most. At least one value.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len() - 1);
    let median = f64::midpoint(values[last - middle], values[middle]);
    (values[0], median, values[last])
}
