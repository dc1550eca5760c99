//! The job queue: each job ends exactly once, whatever happens to the workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use clap::Parser;
use foundation::backoff::Backoff;
use foundation::config::ServerArgs;
use foundation::jobs::{self, Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Database as Opened, DatabaseError, Schema, has_relations};
use foundation::telemetry::{Program, Registry};
use mysql::prelude::Queryable;
use mysql::{Conn, TxOpts};
use proptest::prelude::*;
use serde_json::json;
use testbed::{Database, PATIENCE, Replica, eventually, program, usage};
use uuid::Uuid;

const QUEUE: &str = "tests";

const SCHEMA: Schema = Schema {
    sql: concat!(
        include_str!("../../src/jobs/table.sql"),
        "CREATE TABLE IF NOT EXISTS ends (id BINARY(16) NOT NULL, attempt INT NOT NULL, outcome VARCHAR(64) NOT NULL)"
    ),
    is_complete: |connection| has_relations(connection, &["ends", "jobs"]),
    fault: |_| Ok(None),
    connections: 4,
    rights: "",
};

const LIMITS: WorkerLimits = WorkerLimits {
    // Long enough that no worker loses its lease on a loaded machine.
    lease: Duration::from_secs(30),
    backoff: Backoff {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(100),
    },
    ..WorkerLimits::threads(4)
};

/// Handles jobs with the closure of a test, and records how each of them ended in the table `ends`.
struct RecordingHandler<W>(W);

impl<W: Fn(&Job) -> Result<String, WorkError> + Send + Sync + 'static> Handler
    for RecordingHandler<W>
{
    type Outcome = String;

    fn work(&self, job: &Job) -> Result<String, WorkError> {
        (self.0)(job)
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &String)],
    ) -> Result<(), DatabaseError> {
        done.iter()
            .try_for_each(|(job, outcome)| record(transaction, job, outcome))
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        record(transaction, job, &format!("failed: {cause}"))
    }
}

fn record(transaction: &mut Conn, job: &Job, outcome: &str) -> Result<(), DatabaseError> {
    let row = (job.id.as_bytes(), job.attempt, outcome);
    Ok(transaction.exec_drop(
        "INSERT INTO ends (id, attempt, outcome) VALUES (?, ?, ?)",
        row,
    )?)
}

/// A queue in a database of its own.
struct Queue {
    database: Database,
    opened: Opened,
    registry: Registry,
}

impl Queue {
    fn new() -> Self {
        let database = Database::new();
        let options = ServerArgs::parse_from(["tests", "--database-url", &database.url()]);
        let registry = Registry::new(Program::new("tests", ""));
        let opened = options.database.open(&SCHEMA, &registry);
        Self {
            opened: opened.expect("the database is up"),
            database,
            registry,
        }
    }

    fn worker(
        &self,
        limits: WorkerLimits,
        work: impl Fn(&Job) -> Result<String, WorkError> + Send + Sync + 'static,
    ) -> Worker {
        // Each worker has its own registry, as in a process of its own.
        let registry = Registry::new(self.registry.program());
        let handler = Arc::new(RecordingHandler(work));
        Worker::start(&self.opened, QUEUE, limits, handler, &registry).expect("there are threads")
    }

    fn enqueue(&self, payload: &str) -> Uuid {
        let id = Uuid::now_v7();
        let mut connection = self.database.connect();
        jobs::enqueue(&mut connection, QUEUE, id, payload.as_bytes()).expect("the table is there");
        id
    }

    /// The last attempt and the outcome of each job that ended, once the queue is empty.
    fn ends(&self) -> HashMap<Uuid, (u32, String)> {
        eventually("the queue is empty", || self.remaining() == 0);
        let rows: Vec<(Vec<u8>, u32, String)> =
            self.database.rows("SELECT id, attempt, outcome FROM ends");
        let count = rows.len();
        let ends: HashMap<_, _> = rows
            .into_iter()
            .map(|(id, attempt, outcome)| {
                (
                    Uuid::from_slice(&id).expect("it is one"),
                    (attempt, outcome),
                )
            })
            .collect();
        assert_eq!(ends.len(), count, "each ends once");
        ends
    }

    fn remaining(&self) -> u64 {
        self.database.rows("SELECT COUNT(*) FROM jobs")[0]
    }
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of `Handler::work`")]
fn echo(job: &Job) -> Result<String, WorkError> {
    Ok(String::from_utf8_lossy(&job.payload).into_owned())
}

#[test]
fn a_job_appears_together_with_what_the_client_writes_or_not_at_all() {
    let queue = Queue::new();
    let mut connection = queue.database.connect();
    for (commits, jobs) in [(false, 0), (true, 1)] {
        let transaction = connection.start_transaction(TxOpts::default());
        let mut transaction = transaction.expect("the connection is up");
        jobs::enqueue(&mut transaction, QUEUE, Uuid::now_v7(), b"x").expect("the table is there");
        let ended = if commits {
            transaction.commit()
        } else {
            transaction.rollback()
        };
        ended.expect("the connection is up");
        assert_eq!(queue.remaining(), jobs);
    }
}

#[test]
fn each_job_ends_once_with_its_own_outcome_whoever_takes_it() {
    let queue = Queue::new();
    let wide = WorkerLimits {
        claims: 32,
        ..LIMITS
    };
    let workers = [queue.worker(LIMITS, echo), queue.worker(wide, echo)];
    let ids: Vec<_> = (0..300)
        .map(|number| (queue.enqueue(&number.to_string()), number))
        .collect();
    let ends = queue.ends();
    assert_eq!(ends.len(), ids.len());
    for (id, number) in ids {
        assert_eq!(ends[&id], (1, number.to_string()));
    }
    for worker in workers {
        worker.finish(deadline());
    }
}

#[test]
fn a_failed_job_is_retried_and_ends_with_the_last_cause() {
    let queue = Queue::new();
    let worker = queue.worker(LIMITS, |job| match &job.payload[..] {
        b"third time" if job.attempt == 3 => Ok(job.last_error.clone().unwrap_or_default()),
        b"fatal" => Err(WorkError::Fatal("no other will".to_owned())),
        b"panic" => panic!("a job that panics"),
        _ => Err(WorkError::Retry(format!("attempt {}", job.attempt))),
    });
    let expected = HashMap::from([
        (queue.enqueue("third time"), (3, "attempt 2".to_owned())),
        (queue.enqueue("never"), (5, "failed: attempt 5".to_owned())),
        (
            queue.enqueue("fatal"),
            (1, "failed: no other will".to_owned()),
        ),
        (
            queue.enqueue("panic"),
            (5, "failed: the work panicked".to_owned()),
        ),
    ]);
    assert_eq!(queue.ends(), expected);
    worker.finish(deadline());
}

#[test]
fn an_outcome_that_the_database_refuses_does_not_affect_other_jobs() {
    let queue = Queue::new();
    let too_long = "x".repeat(65);
    let wide = WorkerLimits {
        claims: 32,
        ..LIMITS
    };
    let fits: Vec<_> = (0..10).map(|_| queue.enqueue("x")).collect();
    let refused = queue.enqueue(&too_long);
    let worker = queue.worker(wide, echo);
    eventually("all others have ended", || {
        queue.database.rows::<u64>("SELECT COUNT(*) FROM ends")[0] == 10
    });
    let ends: Vec<(Vec<u8>,)> = queue.database.rows("SELECT id FROM ends");
    assert!(
        fits.iter()
            .all(|id| ends.contains(&(id.as_bytes().to_vec(),)))
    );
    let errors = "SELECT last_error FROM jobs WHERE last_error IS NOT NULL";
    eventually("the refusal is recorded", || {
        let errors: Vec<String> = queue.database.rows(errors);
        errors
            .iter()
            .any(|error| error.contains("the outcome was refused"))
    });
    let cancelled = jobs::cancel(&mut queue.database.connect(), refused);
    assert!(cancelled.expect("the table is there"));
    worker.finish(deadline());
}

#[test]
fn the_connection_of_a_queue_is_counted_as_open() {
    let queue = Queue::new();
    let registry = Registry::new(queue.registry.program());
    let handler = Arc::new(RecordingHandler(echo));
    let worker = Worker::start(&queue.opened, QUEUE, LIMITS, handler, &registry);
    eventually("it is shown", || {
        let metrics = registry.render();
        let metrics = String::from_utf8_lossy(&metrics);
        let of_queue =
            |state| format!("database_connections{{pool=\"{QUEUE}\",state=\"{state}\"}}");
        metrics.contains(&format!("{} 1\n", of_queue("in_use")))
            && metrics.contains(&format!("{} 0\n", of_queue("idle")))
    });
    worker.expect("there are threads").finish(deadline());
}

#[test]
fn rows_that_others_have_locked_hold_up_no_other_job() {
    let queue = Queue::new();
    let mut others = queue.database.connect();
    let theirs = Uuid::nil();
    jobs::enqueue(&mut others, "others", theirs, b"x").expect("the table is there");
    let wide = WorkerLimits {
        claims: 8,
        ..LIMITS
    };
    let expected: HashMap<_, _> = (0..20)
        .map(|_| (queue.enqueue("x"), (1, "x".to_owned())))
        .collect();
    let lock = format!(
        "BEGIN; UPDATE jobs SET attempt = 1 WHERE id = x'{}'",
        theirs.simple()
    );
    others.query_drop(lock).expect("it is there");
    let worker = queue.worker(wide, echo);
    eventually("all but the locked one have ended", || {
        queue.remaining() == 1
    });
    others.query_drop("ROLLBACK").expect("the connection is up");
    assert!(jobs::cancel(&mut others, theirs).expect("the table is there"));
    assert_eq!(queue.ends(), expected);
    worker.finish(deadline());
}

/// Work that waits at the barrier twice: when it begins, and before it ends.
fn gated() -> (
    Arc<Barrier>,
    impl Fn(&Job) -> Result<String, WorkError> + Send + Sync + Clone,
) {
    let gate = Arc::new(Barrier::new(2));
    let work = {
        let gate = Arc::clone(&gate);
        move |job: &Job| {
            gate.wait();
            gate.wait();
            echo(job)
        }
    };
    (gate, work)
}

#[test]
fn a_worker_that_has_lost_its_lease_writes_nothing() {
    let queue = Queue::new();
    let id = queue.enqueue("x");
    let (gate, work) = gated();
    // Claims one job at a time, so that it does not claim this job again itself.
    let one = WorkerLimits {
        threads: 1,
        claims: 1,
        ..LIMITS
    };
    let slow = queue.worker(one, work);
    gate.wait();
    // As if the worker had been frozen for longer than its lease.
    queue
        .database
        .connect()
        .query_drop("UPDATE jobs SET available_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
        .expect("the table is there");
    let other = queue.worker(LIMITS, |_| Ok("by the other".to_owned()));
    let expected = HashMap::from([(id, (2, "by the other".to_owned()))]);
    assert_eq!(queue.ends(), expected);
    gate.wait();
    slow.finish(deadline());
    other.finish(deadline());
    assert_eq!(queue.ends(), expected);
}

#[test]
fn the_worker_of_a_cancelled_job_writes_nothing() {
    let queue = Queue::new();
    let id = queue.enqueue("x");
    let (gate, work) = gated();
    let worker = queue.worker(LIMITS, work);
    gate.wait();
    let mut connection = queue.database.connect();
    for was_queued in [true, false] {
        assert_eq!(jobs::cancel(&mut connection, id).ok(), Some(was_queued));
    }
    gate.wait();
    worker.finish(deadline());
    assert!(queue.ends().is_empty());
}

#[test]
fn work_that_takes_longer_than_a_lease_keeps_it() {
    let queue = Queue::new();
    let id = queue.enqueue("x");
    let (gate, work) = gated();
    let lease = Duration::from_secs(4);
    let short = WorkerLimits { lease, ..LIMITS };
    let slow = queue.worker(short, work);
    gate.wait();
    let claims = Arc::new(AtomicU32::new(0));
    let other = {
        let claims = Arc::clone(&claims);
        queue.worker(LIMITS, move |job| {
            claims.fetch_add(1, Ordering::AcqRel);
            echo(job)
        })
    };
    let ends = "SELECT TIMESTAMPDIFF(MICROSECOND, claimed_at, available_at),
                       TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), available_at)
                FROM jobs";
    let lease = i64::try_from(lease.as_micros()).expect("it is short");
    eventually("the lease holds for twice its length", || {
        let (whole, left): (i64, i64) = queue.database.rows(ends)[0];
        assert!(left <= lease, "{left} µs are left of {lease}");
        whole > 2 * lease
    });
    gate.wait();
    assert_eq!(queue.ends(), HashMap::from([(id, (1, "x".to_owned()))]));
    assert_eq!(claims.load(Ordering::Acquire), 0);
    slow.finish(deadline());
    other.finish(deadline());
}

#[test]
fn a_worker_that_stops_finishes_its_job_and_releases_the_rest_without_counting_an_attempt() {
    let queue = Queue::new();
    let begun = queue.enqueue("begun");
    let (gate, work) = gated();
    let narrow = WorkerLimits {
        threads: 1,
        claims: 8,
        ..LIMITS
    };
    let worker = queue.worker(narrow, work);
    gate.wait();
    for _ in 0..5 {
        queue.enqueue("rest");
    }
    let claimed = "SELECT COUNT(*) FROM jobs WHERE claimed_at IS NOT NULL";
    eventually("all are claimed", || {
        queue.database.rows::<u64>(claimed)[0] == 6
    });
    let stopping = std::thread::spawn(move || worker.finish(deadline()));
    eventually("the rest is released", || {
        queue.database.rows::<u64>(claimed)[0] == 1
    });
    gate.wait();
    stopping.join().expect("it does not panic");
    let attempts: Vec<(u32, u64)> = queue
        .database
        .rows("SELECT attempt, COUNT(*) FROM jobs GROUP BY attempt");
    assert_eq!(attempts, [(0, 5)]);
    let worker = queue.worker(LIMITS, echo);
    let ends = queue.ends();
    assert_eq!(ends.len(), 6);
    assert_eq!(ends[&begun], (1, "begun".to_owned()));
    worker.finish(deadline());
}

#[test]
fn a_worker_that_stops_releases_at_its_deadline_a_job_that_takes_longer() {
    let queue = Queue::new();
    let id = queue.enqueue("x");
    let (gate, work) = gated();
    let worker = queue.worker(LIMITS, work);
    gate.wait();
    worker.finish(Instant::now() + Duration::from_millis(100));
    let other = queue.worker(LIMITS, |_| Ok("by the other".to_owned()));
    assert_eq!(
        queue.ends(),
        HashMap::from([(id, (1, "by the other".to_owned()))])
    );
    other.finish(deadline());
    gate.wait();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Each job fails `failures` times before it succeeds; some jobs are cancelled, and some workers stop at once.
    #[test]
    fn each_job_ends_once_as_expected_whatever_fails_and_stops(
        failures in proptest::collection::vec(0..7_u32, 1..40),
        cancelled in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        stops in 0..4_usize,
    ) {
        let queue = Queue::new();
        let work = |job: &Job| {
            let failures: u32 = String::from_utf8_lossy(&job.payload).parse().expect("a number");
            if job.attempt > failures { echo(job) } else { Err(WorkError::Retry("again".to_owned())) }
        };
        let limits = WorkerLimits { claims: 8, ..LIMITS };
        let ids: Vec<_> = failures.iter().map(|failures| queue.enqueue(&failures.to_string())).collect();
        let worker = queue.worker(limits, work);
        for _ in 0..stops {
            queue.worker(limits, work).finish(deadline());
        }
        let mut connection = queue.database.connect();
        let mut removed = Vec::new();
        for index in cancelled {
            let id = ids[index.index(ids.len())];
            if jobs::cancel(&mut connection, id).expect("the table is there") {
                removed.push(id);
            }
        }
        let ends = queue.ends();
        worker.finish(deadline());
        prop_assert_eq!(ends.len() + removed.len(), ids.len());
        for (id, failures) in ids.iter().zip(failures) {
            let expected = match failures {
                _ if removed.contains(id) => None,
                0..5 => Some((failures + 1, failures.to_string())),
                _ => Some((5, "failed: again".to_owned())),
            };
            prop_assert_eq!(ends.get(id).cloned(), expected);
        }
    }
}

fn start_sums(database_url: &str) -> Replica {
    let mut command = program("examples/sums").expect("tests of the package build its examples");
    command
        .envs([("LISTEN", "127.0.0.1:0"), ("DATABASE_URL", database_url)])
        .args(["--lease", "1s"]);
    let mut process = Replica::run(&mut command);
    process.wait_until_ready();
    process
}

#[test]
fn workers_that_are_killed_or_frozen_lose_nothing_and_do_nothing_twice() {
    let database = Database::new();
    let mut workers: Vec<_> = (0..3).map(|_| start_sums(&database.url())).collect();
    let mut expected = 0;
    for round in 0..6 {
        let mut client = workers[round % 3].client();
        for number in 0..40 {
            let body = json!({ "numbers": [number, round] }).to_string();
            let answer = client.request("POST", "/sums", "", body.as_bytes());
            assert_eq!(answer.status, 202, "{answer:?}");
            expected += 1;
        }
        workers[round % 3].kill();
        workers[round % 3] = start_sums(&database.url());
        let frozen = &workers[(round + 1) % 3];
        frozen.freeze();
        // Longer than its leases last.
        std::thread::sleep(Duration::from_millis(1_500));
        frozen.thaw();
    }
    eventually("the queue is empty", || {
        database.rows::<u64>("SELECT COUNT(*) FROM jobs")[0] == 0
    });
    let written: (u64, u64, u64) =
        database.rows("SELECT COUNT(*), COUNT(DISTINCT id), COUNT(sum) FROM sums")[0];
    assert_eq!(written, (expected, expected, expected));
}

#[test]
fn a_worker_without_a_database_uses_no_cpu_time() {
    let database = Database::new();
    let proxy = database.proxy();
    let worker = start_sums(&proxy.url());
    proxy.cut_all();
    drop(proxy);
    // By then, its leases would have to be prolonged.
    std::thread::sleep(Duration::from_secs(1));
    let cpu_us = || usage(worker.id()).expect("it lives").cpu_us;
    let before = cpu_us();
    std::thread::sleep(Duration::from_secs(3));
    let spent = cpu_us() - before;
    assert!(spent < 600_000.0, "{spent} µs");
}

#[test]
fn a_worker_at_its_deadline_releases_its_job_without_counting_an_attempt() {
    let queue = Queue::new();
    let job = queue.enqueue("begun");
    for _ in 0..=LIMITS.max_attempts {
        let (gate, work) = gated();
        let worker = queue.worker(LIMITS, work);
        gate.wait();
        worker.finish(Instant::now());
        gate.wait();
    }
    let worker = queue.worker(LIMITS, echo);
    assert_eq!(queue.ends()[&job], (1, "begun".to_owned()));
    worker.finish(deadline());
}
