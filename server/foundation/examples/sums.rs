//! A small complete service with a job queue: `POST /sums` enqueues numbers, which this or another such process adds up.
//!
//! ```sh
//! DATABASE_URL=mysql://user:password@127.0.0.1/sums cargo run -p foundation --example sums
//! curl -i --json '{"numbers":[1,2,3]}' 127.0.0.1:8001/sums
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use foundation::config::{self, ServerArgs, duration};
use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::jobs::{self, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Access, DatabaseError, Pool, Schema, has_relations};
use foundation::service::{self, Failure};
use foundation::telemetry::Program;
use mysql::prelude::Queryable;
use mysql::{Conn, TxOpts};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const QUEUE: &str = "sums";

const SCHEMA: Schema = Schema {
    sql: concat!(
        include_str!("../src/jobs/table.sql"),
        "CREATE TABLE IF NOT EXISTS sums (id BINARY(16) NOT NULL, attempt INT NOT NULL, sum BIGINT, cause TEXT)"
    ),
    is_complete: |connection| has_relations(connection, &["sums", "jobs"]),
    fault: |_| Ok(None),
    connections: 5,
    rights: "grant this user all rights on the database",
};

/// Adds up the numbers that are posted.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: ServerArgs,

    /// How long a claim holds without being prolonged
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "TIME")]
    lease: Duration,
}

#[derive(Deserialize)]
struct Numbers {
    numbers: Vec<i64>,
}

#[derive(Serialize)]
struct Enqueued {
    id: Uuid,
}

/// Handles the jobs.
struct Adder;

impl jobs::Handler for Adder {
    type Outcome = i64;

    fn work(&self, job: &Job) -> Result<i64, WorkError> {
        let numbers: Vec<i64> = serde_json::from_slice(&job.payload)
            .map_err(|error| WorkError::Fatal(error.to_string()))?;
        let sum = numbers
            .iter()
            .try_fold(0_i64, |sum, &number| sum.checked_add(number));
        sum.ok_or_else(|| WorkError::Retry("the sum is too large".to_owned()))
    }

    fn complete(&self, transaction: &mut Conn, done: &[(&Job, &i64)]) -> Result<(), DatabaseError> {
        let rows = done
            .iter()
            .map(|(job, sum)| (job.id.as_bytes(), job.attempt, sum));
        let insert = "INSERT INTO sums (id, attempt, sum) VALUES (?, ?, ?)";
        Ok(transaction.exec_batch(insert, rows)?)
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        let row = (job.id.as_bytes(), job.attempt, cause);
        Ok(transaction.exec_drop(
            "INSERT INTO sums (id, attempt, cause) VALUES (?, ?, ?)",
            row,
        )?)
    }
}

struct Sums {
    pool: Pool,
    worker: Worker,
}

impl Service for Sums {
    const ENDPOINTS: &'static [Endpoint<Self>] =
        &[Endpoint::post("/sums", Handler::Blocking(enqueue))];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.pool.check_writable(deadline, jobs::CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn finish(self, deadline: Instant) {
        self.worker.finish(deadline);
    }
}

fn enqueue(sums: &Sums, exchange: &Exchange) -> Result<Response, Problem> {
    let Numbers { numbers } = exchange.json()?;
    let id = Uuid::now_v7();
    let enqueued = Response::json(&Enqueued { id }).with_status(202);
    let payload = serde_json::to_vec(&numbers).expect("numbers can be serialized");
    sums.pool
        .run(Access::Write, exchange.deadline(), move |connection| {
            let mut transaction = connection.start_transaction(TxOpts::default())?;
            jobs::enqueue(&mut transaction, QUEUE, id, &payload)?;
            Ok(transaction.commit()?)
        })?;
    Ok(enqueued)
}

fn main() -> ExitCode {
    let options: Options = config::parse("SUMS");
    let program = Program::new("sums", env!("CARGO_PKG_VERSION"));
    service::main(program, &options.server, |registry| {
        let database = options.server.database.open(&SCHEMA, registry)?;
        let limits = WorkerLimits {
            claims: 16,
            lease: options.lease,
            ..WorkerLimits::threads(2)
        };
        let worker = Worker::start(&database, QUEUE, limits, Arc::new(Adder), registry)
            .map_err(|error| Failure::new(&format!("cannot start the worker: {error}")))?;
        let pool = database.pool("requests", SCHEMA.connections - 1);
        Ok(Sums { pool, worker })
    })
}
