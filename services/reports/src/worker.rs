//! `reports worker`: makes the reports in the queue.

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
use crate::store::{self, FigureSource, Period, SCHEMA};
use crate::tasks;

/// Makes the reports in the queue. Any number of workers may share a database
#[derive(Debug, Parser)]
#[command(mut_arg("listen", |option| option.default_value("127.0.0.1:0")))]
pub struct Options {
    /// Options that every server has: a worker listens for `/healthz`, `/readyz` and `/metrics`.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Reports made at a time, each with its own connection to the database
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..), value_name = "COUNT")]
    pub threads: u8,

    /// How long a claimed report stays with a worker that has stopped prolonging its lease
    #[arg(long, default_value = "15s", value_parser = lease, value_name = "TIME")]
    pub lease: Duration,

    /// Compute all figures from the calls themselves, for comparison: slow, with the same result
    #[arg(long)]
    pub raw: bool,
}

/// A worker prolongs a lease three times before it expires. With a shorter lease, a database or machine under load could be late.
const MIN_LEASE: Duration = Duration::from_secs(1);

fn lease(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < MIN_LEASE => Err("must be at least 1s".to_owned()),
        enough => Ok(enough),
    }
}

/// Jobs that are claimed for each thread.
const CLAIMS_PER_THREAD: usize = 4;
/// Timeout of a query for figures.
const QUERY_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes the report of a job.
struct ReportHandler {
    pool: Pool,
    source: FigureSource,
}

impl ReportHandler {
    /// Computes the figures of a request. From the calls, one phone per query, because each query has a timeout.
    fn figures(&self, request: &ReportRequest) -> Result<Vec<PhoneFigures>, WorkError> {
        let period = Period::new(request.from, request.to);
        let source = self.source;
        let phones_per_query = if source == FigureSource::Durations && period == Period::default() {
            request.numbers.len()
        } else {
            1
        };
        let mut all = Vec::with_capacity(request.numbers.len());
        for phones in request.numbers.chunks(phones_per_query.max(1)) {
            let phones = phones.to_vec();
            let query =
                move |connection: &mut Conn| store::figures(connection, &phones, period, source);
            let deadline = Instant::now() + QUERY_TIMEOUT;
            let figures = self.pool.run(Access::Read, deadline, query);
            all.extend(figures.map_err(|DatabaseAway { incident, .. }| {
                let cause = format!("the database failed; the log tells why, by {incident}");
                WorkError::Retry(cause)
            })?);
        }
        Ok(all)
    }
}

impl Handler for ReportHandler {
    /// The figures in JSON, and the microseconds that they took.
    type Outcome = (Vec<u8>, u32);

    fn work(&self, job: &Job) -> Result<Self::Outcome, WorkError> {
        let start = Instant::now();
        let request: ReportRequest = serde_json::from_slice(&job.payload)
            .map_err(|error| WorkError::Fatal(format!("the request cannot be read: {error}")))?;
        let figures = self.figures(&request)?;
        let figures = serde_json::to_vec(&figures).expect("figures can be serialized");
        let work_us = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        Ok((figures, work_us))
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Self::Outcome)],
    ) -> Result<(), DatabaseError> {
        done.iter().try_for_each(|(job, (figures, work_us))| {
            tasks::end(transaction, job, Ok((figures, *work_us)))
        })
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        tasks::end(transaction, job, Err(cause))
    }
}

/// The worker as a server, without endpoints of its own.
pub struct ReportWorker {
    worker: Worker,
    figures: Pool,
    /// For `/readyz`, so that it does not wait for connections that the reports use.
    checks: Pool,
}

impl ReportWorker {
    /// Opens the database and starts the worker.
    ///
    /// # Errors
    /// If the database cannot be opened, or a thread cannot be started.
    pub fn start(options: &Options, registry: &Registry) -> Result<Self, Failure> {
        let schema = Schema {
            // One for each thread, one for readiness checks, one for the queue.
            connections: options.threads.saturating_add(2),
            ..SCHEMA
        };
        let database = options.server.database.open(&schema, registry)?;
        let figures = database.pool("figures", options.threads);
        let threads = usize::from(options.threads);
        let source = if options.raw {
            FigureSource::Calls
        } else {
            FigureSource::Durations
        };
        let handler = ReportHandler {
            pool: figures.clone(),
            source,
        };
        let limits = WorkerLimits {
            // More than there are threads, because most reports are short, and more of them can end in one transaction.
            claims: CLAIMS_PER_THREAD * threads,
            lease: options.lease,
            ..WorkerLimits::threads(threads)
        };
        let worker = Worker::start(&database, tasks::QUEUE, limits, Arc::new(handler), registry)
            .map_err(|error| Failure::new(&format!("cannot start the worker: {error}")))?;
        Ok(Self {
            worker,
            figures,
            checks: database.pool("checks", 1),
        })
    }
}

impl Service for ReportWorker {
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
