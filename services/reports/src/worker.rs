//! `reports worker`: makes the reports that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use foundation::config::{ServerArgs, duration};
use foundation::http::{Endpoint, Problem, Service};
use foundation::jobs::{CHECK_WRITABLE, Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Access, DatabaseAway, DatabaseError, Pool, Schema};
use foundation::service::Failure;
use foundation::telemetry::Registry;
use mysql::Conn;

use crate::figures::PhoneFigures;
use crate::request::ReportRequest;
use crate::store::{self, Period, Reading, SCHEMA};
use crate::tasks;

/// Makes the reports that wait in the queue. Any number of workers may share a database
#[derive(Debug, Parser)]
#[command(mut_arg("listen", |option| option.default_value("127.0.0.1:0")))]
pub struct Options {
    /// Options that every server has: a worker listens for `/healthz`, `/readyz` and `/metrics`.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Reports that are made at a time, each with a connection to the database
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..), value_name = "COUNT")]
    pub threads: u8,

    /// How long a report that a worker has taken stays its own when the worker is not heard of any more
    #[arg(long, default_value = "15s", value_parser = lease, value_name = "TIME")]
    pub lease: Duration,

    /// Read all figures from the calls themselves, for comparison: slow, and the same
    #[arg(long)]
    pub raw: bool,
}

/// A worker prolongs its leases three times in this, and a database or a machine under load takes its time.
const MIN_LEASE: Duration = Duration::from_secs(1);

fn lease(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < MIN_LEASE => Err("must be at least 1s".to_owned()),
        enough => Ok(enough),
    }
}

/// Reports that are claimed for each thread.
const CLAIMS_EACH: usize = 4;
/// How long a worker waits for the figures of a report.
const PATIENCE: Duration = Duration::from_secs(600);

/// Makes reports.
struct Reporter {
    pool: Pool,
    reading: Reading,
}

impl Reporter {
    /// Reads what is asked for. Of calls phone by phone, as each question to the database has a bound of time.
    fn figures(&self, request: &ReportRequest) -> Result<Vec<PhoneFigures>, WorkError> {
        let period = Period::new(request.from, request.to);
        let reading = self.reading;
        let at_a_time = if reading == Reading::Durations && period == Period::default() {
            request.numbers.len()
        } else {
            1
        };
        let mut all = Vec::with_capacity(request.numbers.len());
        for phones in request.numbers.chunks(at_a_time.max(1)) {
            let phones = phones.to_vec();
            let query =
                move |connection: &mut Conn| store::figures(connection, &phones, period, reading);
            let deadline = Instant::now() + PATIENCE;
            let figures = self.pool.run(Access::Read, deadline, query);
            all.extend(figures.map_err(|DatabaseAway { incident, .. }| {
                let cause = format!("the database failed; the log tells why, by {incident}");
                WorkError::Retry(cause)
            })?);
        }
        Ok(all)
    }
}

impl Handler for Reporter {
    /// The figures in JSON, and how many microseconds they took.
    type Outcome = (Vec<u8>, u32);

    fn work(&self, job: &Job) -> Result<Self::Outcome, WorkError> {
        let begun = Instant::now();
        let request: ReportRequest = serde_json::from_slice(&job.payload)
            .map_err(|error| WorkError::Fatal(format!("the request cannot be read: {error}")))?;
        let figures = self.figures(&request)?;
        let figures = serde_json::to_vec(&figures).expect("figures can be serialized");
        let took_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        Ok((figures, took_us))
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Self::Outcome)],
    ) -> Result<(), DatabaseError> {
        done.iter().try_for_each(|(job, (figures, took_us))| {
            tasks::end(transaction, job, Ok((figures, *took_us)))
        })
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        tasks::end(transaction, job, Err(cause))
    }
}

/// The worker as a server: without endpoints of its own.
pub struct Reports {
    worker: Worker,
    figures: Pool,
    /// For `/readyz`, whatever the reports do with theirs.
    checks: Pool,
}

impl Reports {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no database, or the system gives no thread.
    pub fn start(options: &Options, registry: &Registry) -> Result<Self, Failure> {
        let schema = Schema {
            // One for each thread, one for checks, one for the queue.
            connections: options.threads.saturating_add(2),
            ..SCHEMA
        };
        let database = options.server.database.open(&schema, registry)?;
        let figures = database.pool("figures", options.threads);
        let threads = usize::from(options.threads);
        let reading = if options.raw {
            Reading::Calls
        } else {
            Reading::Durations
        };
        let reporter = Reporter {
            pool: figures.clone(),
            reading,
        };
        let limits = WorkerLimits {
            // Most reports take little, and more of them end in one transaction.
            claims: CLAIMS_EACH * threads,
            lease: options.lease,
            ..WorkerLimits::threads(threads)
        };
        let worker = Worker::start(
            &database,
            tasks::QUEUE,
            limits,
            Arc::new(reporter),
            registry,
        )
        .map_err(|error| Failure::new(&format!("cannot start the worker: {error}")))?;
        Ok(Self {
            worker,
            figures,
            checks: database.pool("checks", 1),
        })
    }
}

impl Service for Reports {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.checks.check_writable(deadline, CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.figures.observe();
        self.checks.observe();
    }

    fn finish(self, deadline: Instant) {
        self.worker.finish(deadline);
    }
}
