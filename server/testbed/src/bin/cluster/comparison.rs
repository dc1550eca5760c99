//! What the group costs: measures the group, a single server, one transaction per message on the group, and the group where
//! COMMIT waits for all members, in interleaved rounds.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::{
    DatabaseProcess, Measurement, Meter, Service, Spread, Target, Workload, messenger,
    stable_addresses,
};

use crate::REPLICAS;
use crate::arguments::Arguments;
use crate::group::Group;

/// The database of the replicas with one transaction per message.
const ONE_PER_MESSAGE: &str = "one_per_message";

/// The measurements of all targets.
pub(crate) struct Comparison {
    rounds: u32,
    time: Duration,
    /// The group first.
    rows: Vec<(String, Vec<Measurement>)>,
}

impl Comparison {
    /// Starts all targets, and measures each once per round.
    pub(crate) fn run(
        group: &Group,
        program: &Path,
        folder: &Path,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let (_single, single_url) = single(program, &folder.join("single"))?;
        let primary = group.primary(None)?;
        let mut operator = group.members[primary].server.connect()?;
        let mut meter = Meter::on(group.members[primary].server.connect()?, None)?;
        let (rounds, time) = (arguments.rounds, arguments.time);
        let workload = Workload::standard(time);
        let start = |urls: &str| Service::start_ready(REPLICAS, || messenger(urls));

        let user = DatabaseProcess::USER;
        operator.query_drop(format!(
            "CREATE DATABASE {ONE_PER_MESSAGE} CHARACTER SET utf8mb4"
        ))?;
        operator.query_drop(format!("GRANT ALL ON {ONE_PER_MESSAGE}.* TO {user}@'%'"))?;
        let url = group.members[primary].url(ONE_PER_MESSAGE);
        let (connections, one_per_message) = meter.fastest_one_per_message(&url, REPLICAS)?;

        operator.query_drop("SET GLOBAL group_replication_consistency = 'AFTER'")?;
        let with_after = start(&group.urls())?;
        let with_after = Target::new("the group, with AFTER", &with_after, workload);
        // Connections that are opened now keep this setting.
        meter.measure(&with_after, workload, 0)?;
        operator.query_drop("SET GLOBAL group_replication_consistency = DEFAULT")?;

        let (single, grouped) = (start(&single_url)?, start(&group.urls())?);
        let name = format!("one transaction a message, {connections} connections");
        let targets = [
            Target::new("the group", &grouped, workload),
            Target::new("a single server", &single, workload),
            Target::new(name, &one_per_message, workload),
            with_after,
        ];
        let series = meter.interleave("what the group costs", &targets, rounds)?;
        let names = targets.into_iter().map(|target| target.name);
        let rows = names.zip(series).collect();
        Ok(Self { rounds, time, rows })
    }

    /// Whether no request failed.
    pub(crate) fn succeeded(&self) -> bool {
        let mut all = self.rows.iter().flat_map(|(_, rounds)| rounds);
        all.all(|round| round.failed == 0.0)
    }
}

/// Starts a single server with default settings and data of its own. Returns it with its URL.
fn single(program: &Path, folder: &Path) -> Result<(DatabaseProcess, String), Box<dyn Error>> {
    DatabaseProcess::initialize(program, folder)?;
    let port = stable_addresses(1)?[0].port();
    let mut process = DatabaseProcess::on(program, folder)?
        .option("--skip-networking=OFF")
        .option("--bind-address=127.0.0.1")
        .option(format!("--port={port}"));
    process.start()?;
    let (user, name) = (DatabaseProcess::USER, DatabaseProcess::NAME);
    // TCP, as for the group.
    let url = format!("mysql://{user}@127.0.0.1:{port}/{name}?prefer_socket=false");
    Ok((process, url))
}

fn throughputs(rounds: &[Measurement]) -> impl Iterator<Item = f64> {
    rounds.iter().map(|round| round.messages_per_second)
}

impl fmt::Display for Comparison {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rounds, time) = (self.rounds, humantime::format_duration(self.time));
        writeln!(
            to,
            "messages/s, 50 coroutines, 2 replicas: median (least to most) of {rounds} rounds of {time}"
        )?;
        for (name, rounds) in &self.rows {
            if let Some(Spread { median, min, max }) = Spread::of(throughputs(rounds)) {
                writeln!(to, "  {name:<54} {median:6.0}  ({min:.0} to {max:.0})")?;
            }
        }
        writeln!(to, "ratio within a round")?;
        let (_, group) = &self.rows[0];
        for (name, rounds) in &self.rows[1..] {
            let both = throughputs(group).zip(throughputs(rounds));
            if let Some(Spread { median, min, max }) =
                Spread::of(both.map(|(group, it)| group / it))
            {
                let name = format!("the group / {name}");
                writeln!(to, "  {name:<54} {median:6.2}  ({min:.2} to {max:.2})")?;
            }
        }
        Ok(())
    }
}
