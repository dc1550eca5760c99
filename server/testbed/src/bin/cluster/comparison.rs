//! What the group costs: it, a single server, one transaction per message on the group, and the group where COMMIT waits
//! for all members, in interleaved rounds.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::tool::say;
use testbed::{
    ClientRun, DatabaseProcess, Figures, POOL_SIZES, Service, Spread, client, lasting_addresses,
    messenger, one_per_message,
};

use crate::REPLICAS;
use crate::arguments::Arguments;
use crate::group::Group;
use crate::load::urls;

/// How many requests each coroutine sends before those that count.
const WARM_UP: &str = "10";

/// The rounds of all contestants.
pub(crate) struct Comparison {
    rounds: u32,
    time: Duration,
    group: Contestant,
    others: [Contestant; 3],
}

struct Contestant {
    name: String,
    replicas: Vec<Service>,
    rounds: Vec<Figures>,
}

impl Comparison {
    /// Starts what is compared with the group, and measures each once a round.
    pub(crate) fn run(
        group: &Group,
        program: &Path,
        folder: &Path,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let (_single, single_url) = single(program, &folder.join("single"))?;
        let of_server = |name: &str, urls: &str| Contestant::start(name, || messenger(urls));
        let patient = || {
            let mut operator = group.operator(group.primary(None)?)?;
            operator.query_drop("SET GLOBAL group_replication_consistency = 'AFTER'")?;
            let contestant = of_server("the group, with AFTER", &group.urls())?;
            // Connections that are open now keep what they found.
            contestant.measure(arguments.time, 0)?;
            operator.query_drop("SET GLOBAL group_replication_consistency = DEFAULT")?;
            Ok::<_, Box<dyn Error>>(contestant)
        };
        let mut comparison = Self {
            rounds: arguments.rounds,
            time: arguments.time,
            others: [
                of_server("a single server", &single_url)?,
                fastest_one_per_message(group, arguments.time)?,
                patient()?,
            ],
            group: of_server("the group", &group.urls())?,
        };
        for round in 0..=arguments.rounds {
            for contestant in comparison.contestants_mut() {
                let figures = contestant.measure(arguments.time, round)?;
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

    /// Tells whether all was answered.
    pub(crate) fn is_well(&self) -> bool {
        self.contestants()
            .flat_map(|contestant| &contestant.rounds)
            .all(|figures| figures.total.failed + figures.total.unknown == 0)
    }
}

/// A server with its default settings, on data of its own, and its URL.
fn single(program: &Path, folder: &Path) -> Result<(DatabaseProcess, String), Box<dyn Error>> {
    DatabaseProcess::initialize(program, folder)?;
    let port = lasting_addresses(1)?[0].port();
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

/// One transaction a message with the fastest number of connections, in a database of its own on the group's primary.
fn fastest_one_per_message(group: &Group, time: Duration) -> Result<Contestant, Box<dyn Error>> {
    const DATABASE: &str = "one_per_message";
    let primary = group.primary(None)?;
    let mut operator = group.operator(primary)?;
    let user = DatabaseProcess::USER;
    operator.query_drop(format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"))?;
    operator.query_drop(format!("GRANT ALL ON {DATABASE}.* TO {user}@'%'"))?;
    let url = group.url(primary, DATABASE);
    let mut fastest: Option<(f64, Contestant)> = None;
    for size in POOL_SIZES {
        let name = format!("one transaction a message, {size} connections");
        let contestant = Contestant::start(&name, || one_per_message(&url, size))?;
        let throughput = contestant.measure(time, 0)?.throughput_per_second;
        if fastest.as_ref().is_none_or(|(best, _)| throughput > *best) {
            fastest = Some((throughput, contestant));
        }
    }
    let (_throughput, contestant) = fastest.ok_or("no size to try")?;
    Ok(contestant)
}

impl Contestant {
    fn start(
        name: &str,
        command: impl Fn() -> io::Result<Command>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            name: name.to_owned(),
            replicas: Service::start_ready(REPLICAS, command)?,
            rounds: Vec::new(),
        })
    }

    /// Measures it for so long. The seed is the round's, so that all get the same traffic in it. Not judged: that has a price.
    fn measure(&self, time: Duration, round: u32) -> Result<Figures, Box<dyn Error>> {
        let mut command = client()?;
        command
            .args(["--no-check", "--warmup", WARM_UP])
            .args(["--seed", &round.to_string()])
            .args(["--duration", &format!("{}ms", time.as_millis())])
            .args(urls(&self.replicas)?);
        let finished = ClientRun::start(&mut command)?.finish(Duration::MAX, || ())?;
        Ok(finished.results.figures)
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
            let Some(Spread { median, min, max }) = Spread::of(contestant.throughputs()) else {
                continue;
            };
            let name = &contestant.name;
            writeln!(to, "  {name:<54} {median:6.0}  ({min:.0} to {max:.0})")?;
        }
        writeln!(to, "ratio within a round")?;
        for other in &self.others {
            let both = self.group.throughputs().zip(other.throughputs());
            let ratios = both.map(|(group, other)| group / other);
            let Some(Spread { median, min, max }) = Spread::of(ratios) else {
                continue;
            };
            let name = format!("the group / {}", other.name);
            writeln!(to, "  {name:<54} {median:6.2}  ({min:.2} to {max:.2})")?;
        }
        Ok(())
    }
}
