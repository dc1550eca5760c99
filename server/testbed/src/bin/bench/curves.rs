//! The server alone, along one condition after the other.

use std::error::Error;
use std::time::Duration;

use testbed::tool::say;
use testbed::{Amount, Proxy, Service, Target, Workload, messenger};

use crate::arguments::Curve;
use crate::comparisons::{Bench, REPLICAS};
use crate::database::{fill, violations};
use crate::report::{Report, Table, memory, throughput};

/// Messages that each coroutine sends before memory is read for the first and for the second time.
const FEW_MESSAGES: u32 = 10_000 / Workload::COROUTINES;
const MANY_MESSAGES: u32 = 1_000_000 / Workload::COROUTINES;
/// Round-trip times to the database, in milliseconds: on this machine, in one data centre, in one region, between regions.
const ROUND_TRIPS: [u64; 4] = [0, 1, 5, 20];

impl Bench {
    /// Makes one table per condition.
    pub(crate) fn curves(&mut self, curves: &[Curve]) -> Result<Report, Box<dyn Error>> {
        let mut tables = Vec::new();
        let mut notes = Vec::new();
        for curve in curves {
            tables.push(match curve {
                Curve::Coroutines => self.along_coroutines()?,
                Curve::Replicas => self.along_replicas()?,
                Curve::Users => self.along_users()?,
                Curve::Texts => self.along_texts()?,
                Curve::Messages => self.along_messages()?,
                Curve::Distance => {
                    let (table, note) = self.along_distance()?;
                    notes.push(note);
                    table
                }
                Curve::Rows => self.along_rows()?,
            });
        }
        Ok(self.report(tables, notes))
    }

    fn along_coroutines(&mut self) -> Result<Table, Box<dyn Error>> {
        let database = self.database.create("coroutines")?;
        let replicas = Service::start_ready(REPLICAS, || messenger(&database.url()))?;
        let workload = Workload::standard(self.time);
        let targets = [1, 10, Workload::COROUTINES, 200, 1000].map(|coroutines| {
            let workload = Workload {
                coroutines,
                ..workload
            };
            Target::new(format!("{coroutines} coroutines"), &replicas, workload)
        });
        let table = self.table("along coroutines", &targets)?;
        Ok(table.ratio("messages/s, 1000 / 50", (4, throughput), (2, throughput)))
    }

    fn along_replicas(&mut self) -> Result<Table, Box<dyn Error>> {
        let database = self.database.create("replicas")?;
        let replicas = Service::start_ready(4, || messenger(&database.url()))?;
        let workload = Workload::standard(self.time);
        let targets = [
            Target::new("1 replica", &replicas[..1], workload),
            Target::new("2 replicas", &replicas[..2], workload),
            Target::new("4 replicas", &replicas, workload),
        ];
        let table = self.table("along replicas", &targets)?;
        Ok(table
            .ratio("messages/s, 1 / 2", (0, throughput), (1, throughput))
            .ratio("messages/s, 4 / 2", (2, throughput), (1, throughput)))
    }

    /// Each user has sent a message before.
    fn along_users(&mut self) -> Result<Table, Box<dyn Error>> {
        let [few, many] = [Workload::USERS, 100_000];
        let databases = [
            self.database.create("few_users")?,
            self.database.create("many_users")?,
        ];
        let replicas = [
            Service::start_ready(REPLICAS, || messenger(&databases[0].url()))?,
            Service::start_ready(REPLICAS, || messenger(&databases[1].url()))?,
        ];
        for (database, users) in databases.iter().zip([few, many]) {
            fill(database, u64::from(many), users)?;
            if violations(database)? > 0 {
                return Err("the loader's messages break promises; has schema.sql changed?".into());
            }
        }
        let workload = Workload::standard(self.time);
        let targets = [(0, few), (1, many)].map(|(index, users): (usize, _)| {
            let workload = Workload { users, ..workload };
            Target::new(format!("{users} users"), &replicas[index], workload)
        });
        let table = self.table("along users", &targets)?;
        Ok(table.ratio("messages/s, 100000 / 10", (1, throughput), (0, throughput)))
    }

    fn along_texts(&mut self) -> Result<Table, Box<dyn Error>> {
        let database = self.database.create("texts")?;
        let replicas = Service::start_ready(REPLICAS, || messenger(&database.url()))?;
        let workload = Workload::standard(self.time);
        let targets = [20, 4000].map(|length| {
            let workload = Workload {
                text_length: Some(length),
                ..workload
            };
            Target::new(format!("texts of {length} characters"), &replicas, workload)
        });
        let table = self.table("along texts", &targets)?;
        Ok(table.ratio("messages/s, 4000 / 20", (1, throughput), (0, throughput)))
    }

    /// Measures how the memory of a replica grows with its messages. One run after the other, so nothing is interleaved.
    fn along_messages(&mut self) -> Result<Table, Box<dyn Error>> {
        let database = self.database.create("memory")?;
        let replicas = Service::start_ready(REPLICAS, || messenger(&database.url()))?;
        let workload = Workload::standard(self.time);
        let targets = [FEW_MESSAGES, MANY_MESSAGES].map(|each| {
            let amount = Amount::Requests(each);
            let name = format!("after {} messages", each * Workload::COROUTINES);
            Target::new(name, &replicas, Workload { amount, ..workload })
        });
        let title = "along messages";
        let series = self.database.meter.interleave(title, &targets, 1)?;
        let names = targets.into_iter().map(|target| target.name);
        let table = Table::new(format!("{title}, once"), names, series);
        Ok(table.ratio("memory, last / first", (1, memory), (0, memory)))
    }

    /// All use one database, so each one's messages are rows in the others' table.
    fn along_distance(&mut self) -> Result<(Table, String), Box<dyn Error>> {
        let database = self.database.create("distance")?;
        let (mut proxies, mut replicas) = (Vec::new(), Vec::new());
        for round_trip in ROUND_TRIPS {
            let proxy = Proxy::to(&database.url())?;
            proxy.set_round_trip(Duration::from_millis(round_trip));
            replicas.push(Service::start_ready(REPLICAS, || messenger(&proxy.url()))?);
            proxies.push(proxy);
        }
        let workload = Workload::standard(self.time);
        let targets: Vec<_> = ROUND_TRIPS
            .iter()
            .zip(&replicas)
            .map(|(round_trip, replicas)| {
                let name = format!("{round_trip} ms to the database and back");
                Target::new(name, replicas, workload)
            })
            .collect();
        let round_trips = || proxies.iter().map(Proxy::round_trips).sum::<u64>();
        let (before, commits) = (round_trips(), self.database.meter.commits()?);
        let table = self.table("along the distance", &targets)?;
        let (after, commits) = (round_trips(), self.database.meter.commits()? - commits);
        let round_trips = f64::from(u32::try_from(after - before)?);
        let note = format!("round trips per batch: {:.2}", round_trips / commits);
        let table = table
            .ratio("messages/s, 1 ms / none", (1, throughput), (0, throughput))
            .ratio("messages/s, 5 ms / none", (2, throughput), (0, throughput))
            .ratio("messages/s, 20 ms / none", (3, throughput), (0, throughput));
        Ok((table, note))
    }

    fn along_rows(&mut self) -> Result<Table, Box<dyn Error>> {
        let rows = [0, self.rows / 5, self.rows];
        let databases = [
            self.database.create("rows_0")?,
            self.database.create("rows_1")?,
            self.database.create("rows_2")?,
        ];
        let mut replicas = Vec::new();
        for (database, rows) in databases.iter().zip(rows) {
            replicas.push(Service::start_ready(REPLICAS, || {
                messenger(&database.url())
            })?);
            say(&format!("filling a table with {rows} rows"));
            fill(database, rows, Workload::USERS)?;
        }
        let workload = Workload::standard(self.time);
        let targets = [0, 1, 2].map(|index: usize| {
            Target::new(format!("{} rows", rows[index]), &replicas[index], workload)
        });
        let table = self.table("along rows in the table", &targets)?;
        Ok(table
            .ratio("messages/s, some / none", (1, throughput), (0, throughput))
            .ratio("messages/s, most / none", (2, throughput), (0, throughput)))
    }
}
