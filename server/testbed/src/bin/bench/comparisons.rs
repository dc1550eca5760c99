//! The three servers compared, and how each is started.

use std::error::Error;
use std::time::Duration;

use testbed::tool::say;
use testbed::{Amount, Service, Target, Workload, client, constant, messenger, one_per_message};

use crate::arguments::Arguments;
use crate::database::{DatabaseServer, violations};
use crate::report::{Report, Table, machine, p50, p99, throughput};

pub(crate) const REPLICAS: usize = 2;

/// The checked arguments, and the database server to measure on.
pub(crate) struct Bench {
    pub(crate) database: DatabaseServer,
    rounds: u32,
    pub(crate) time: Duration,
    pub(crate) rows: u64,
}

impl Bench {
    /// Checks that all programs are built, and connects to the database server.
    pub(crate) fn prepare(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        // Missing programs are reported now instead of after the first rounds.
        client()?;
        messenger("")?;
        constant()?;
        one_per_message("", 0)?;
        let database = DatabaseServer::connect(&arguments.database_url, arguments.database_pid)?;
        Ok(Self {
            database,
            rounds: arguments.rounds,
            time: arguments.time,
            rows: arguments.rows,
        })
    }

    /// Compares the server, a constant reply and one transaction per message: under load, and with a single client.
    pub(crate) fn three_servers(&mut self) -> Result<Report, Box<dyn Error>> {
        let databases = [
            self.database.create("server")?,
            self.database.create("one_per_message")?,
        ];
        let meter = &mut self.database.meter;
        let (connections, one_per_message) =
            meter.fastest_one_per_message(&databases[1].url(), REPLICAS)?;
        let server = Service::start_ready(REPLICAS, || messenger(&databases[0].url()))?;
        let constant = Service::start_ready(REPLICAS, constant)?;

        let mut tables = Vec::new();
        for (coroutines, time) in [(Workload::COROUTINES, self.time), (1, self.time / 2)] {
            let workload = Workload {
                coroutines,
                ..Workload::standard(time)
            };
            let c = format!("(c) one transaction a message, {connections} connections");
            let targets = [
                Target::new("(a) the server", &server, workload),
                Target {
                    stores: false,
                    ..Target::new("(b) a constant reply", &constant, workload)
                },
                Target::new(c, &one_per_message, workload),
            ];
            let title = match coroutines {
                1 => "1 coroutine".to_owned(),
                many => format!("{many} coroutines"),
            };
            let table = self
                .table(&title, &targets)?
                .ratio("messages/s, a / b", (0, throughput), (1, throughput))
                .ratio("messages/s, a / c", (0, throughput), (2, throughput))
                .ratio("p50, a / c", (0, p50), (2, p50))
                .ratio("p99 / p50 of a", (0, p99), (0, p50));
            tables.push(table);
        }
        say("looking for broken promises in the tables");
        let mut notes = Vec::new();
        for database in &databases {
            match violations(database)? {
                0 => {}
                rows => notes.push(format!("{rows} broken promises in ordering_violations!")),
            }
        }
        if notes.is_empty() {
            notes.push("ordering_violations is empty, of (a) and of (c)".to_owned());
        }
        Ok(self.report(tables, notes))
    }

    pub(crate) fn table(
        &mut self,
        title: &str,
        targets: &[Target<'_>],
    ) -> Result<Table, Box<dyn Error>> {
        let series = self
            .database
            .meter
            .interleave(title, targets, self.rounds)?;
        let names = targets.iter().map(|target| target.name.clone());
        let replicas = targets.iter().map(|target| target.replicas.len());
        let same = replicas.clone().max() == replicas.clone().min();
        let replicas = match replicas.max() {
            Some(count) if same => format!(", {count} replicas"),
            _ => String::new(),
        };
        let time = targets
            .iter()
            .find_map(|target| match target.workload.amount {
                Amount::Time(time) => Some(humantime::format_duration(time)),
                Amount::Requests(_) => None,
            });
        let time = time.map_or_else(String::new, |time| format!(" of {time}"));
        let title = format!("{title}{replicas}: medians of {} rounds{time}", self.rounds);
        Ok(Table::new(title, names, series))
    }

    pub(crate) fn report(&self, tables: Vec<Table>, mut notes: Vec<String>) -> Report {
        if self.database.meter.process.is_none() {
            notes.push(
                "no CPU time of the database: its process is not known, tell it in DATABASE_PID"
                    .to_owned(),
            );
        }
        Report {
            machine: machine(),
            database: self.database.version.clone(),
            tables,
            notes,
        }
    }
}
