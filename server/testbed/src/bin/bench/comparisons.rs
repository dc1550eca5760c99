//! The three servers compared, and how each is started.

use std::error::Error;
use std::time::Duration;

use testbed::tool::say;
use testbed::{Amount, Contestant, Service, Traffic, client, constant, messenger, one_per_message};

use crate::arguments::Arguments;
use crate::database::{DatabaseServer, violations};
use crate::report::{Report, Table, machine, p50, p99, throughput};

pub(crate) const REPLICAS: usize = 2;

/// Ready to measure.
pub(crate) struct Bench {
    pub(crate) database: DatabaseServer,
    rounds: u32,
    pub(crate) time: Duration,
    pub(crate) rows: u64,
}

impl Bench {
    /// Looks whether all is there that will be needed.
    pub(crate) fn prepare(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        // What is missing is better said now than after the first rounds.
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

    /// Compares the server, a constant and one transaction a message: under load, and with a single caller.
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
        for (coroutines, time) in [(Traffic::COROUTINES, self.time), (1, self.time / 2)] {
            let traffic = Traffic {
                coroutines,
                ..Traffic::usual(time)
            };
            let c = format!("(c) one transaction a message, {connections} connections");
            let contestants = [
                Contestant::new("(a) the server", &server, traffic),
                Contestant {
                    stores: false,
                    ..Contestant::new("(b) a constant reply", &constant, traffic)
                },
                Contestant::new(c, &one_per_message, traffic),
            ];
            let title = match coroutines {
                1 => "1 coroutine".to_owned(),
                many => format!("{many} coroutines"),
            };
            let table = self
                .table(&title, &contestants)?
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
        contestants: &[Contestant<'_>],
    ) -> Result<Table, Box<dyn Error>> {
        let series = self
            .database
            .meter
            .interleave(title, contestants, self.rounds)?;
        let names = contestants.iter().map(|contestant| contestant.name.clone());
        let replicas = contestants
            .iter()
            .map(|contestant| contestant.replicas.len());
        let same = replicas.clone().max() == replicas.clone().min();
        let replicas = match replicas.max() {
            Some(count) if same => format!(", {count} replicas"),
            _ => String::new(),
        };
        let time = contestants
            .iter()
            .find_map(|contestant| match contestant.traffic.amount {
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
