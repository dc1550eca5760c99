//! A durable job queue in the service's own database, without a broker.
//!
//! * A job is enqueued in the caller's transaction, so that it is stored together with the data it belongs to, or not at all.
//! * A worker claims a job for a time, its lease, and prolongs the lease while it works. If the worker dies, another claims the
//!   job when the lease is over.
//! * A job ends in the transaction that writes its result. Each claim has a number, the attempt, which is compared there, so a
//!   worker that has lost its lease cannot write, and a result is written once.
//! * A failed job is tried again after growing pauses. After the last attempt it fails for good, with the last cause.
//!
//! All times are the database's, so the clocks of workers do not matter.
//!
//! One thread of each worker, the queue thread, does all that needs the database: it ends finished jobs and claims new ones in
//! one short transaction, whatever their number. Other threads do the work meanwhile.

mod sql;
mod queue_thread;
mod metrics;

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mysql::Conn;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::mysql::{Database, DatabaseError, PoolMetrics};
use crate::telemetry::Registry;
use metrics::JobMetrics;
use queue_thread::QueueThread;

pub use sql::{CHECK_WRITABLE, TABLE, cancel, enqueue};

/// A claimed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The id with which it was enqueued.
    pub id: Uuid,
    /// The payload with which it was enqueued.
    pub payload: Vec<u8>,
    /// The number of this claim, from 1.
    pub attempt: u32,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// When this claim was made.
    pub claimed_at: DateTime<Utc>,
    /// Why the previous attempt failed.
    pub last_error: Option<String>,
}

/// A claim of a job: its id, and the attempt.
type Claim = (Uuid, u32);

impl Job {
    fn claim(&self) -> Claim {
        (self.id, self.attempt)
    }
}

/// Why work has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Another attempt may succeed.
    #[error("{0}")]
    Retry(String),
    /// No other attempt will.
    #[error("{0}")]
    Fatal(String),
}

/// Handles the jobs of a queue.
pub trait Handler: Send + Sync + 'static {
    /// The result of the work, for [`Self::complete`].
    type Outcome: Send + 'static;

    /// Does the work, outside of any transaction, on one of several threads. It may be done again by another worker, if this one
    /// dies or loses its lease.
    ///
    /// # Errors
    /// [`WorkError`]
    fn work(&self, job: &Job) -> Result<Self::Outcome, WorkError>;

    /// Writes outcomes, in the transaction that ends these jobs. This worker holds all of them.
    ///
    /// # Errors
    /// As the database says. Then the transaction is rolled back, and each job is ended by itself; one that fails again is
    /// retried like one whose work has failed.
    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Self::Outcome)],
    ) -> Result<(), DatabaseError>;

    /// Writes that a job has failed for good, in the transaction that ends it. If all workers died that had it, `job` is as the
    /// last of them had claimed it.
    ///
    /// # Errors
    /// As [`Self::complete`].
    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError>;
}

/// Limits of a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Threads that do the work.
    pub threads: usize,
    /// Most jobs that are claimed at a time. Those beyond the number of threads wait here, where no other worker gets them, so
    /// for long work it should be the number of threads.
    pub claims: usize,
    /// How long a claim lasts without being prolonged, which is done at least three times in it.
    pub lease: Duration,
    /// Most attempts.
    pub max_attempts: u32,
    /// The pauses between attempts.
    pub backoff: Backoff,
}

impl WorkerLimits {
    /// So many threads with one job each; leases of 15 s, five attempts, and pauses of 1 s to a minute between them.
    #[must_use]
    pub const fn threads(threads: usize) -> Self {
        Self {
            threads,
            claims: threads,
            lease: Duration::from_secs(15),
            max_attempts: 5,
            backoff: Backoff {
                first: Duration::from_secs(1),
                longest: Duration::from_secs(60),
            },
        }
    }
}

/// A job with the result of its work.
type Done<O> = (Job, Result<O, WorkError>);

/// Claims and handles the jobs of a queue, until [`Worker::finish`].
pub struct Worker {
    stop: Sender<Instant>,
    queue_thread: JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start<H: Handler>(
        database: &Database,
        queue: &'static str,
        limits: WorkerLimits,
        handler: Arc<H>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let (to_work, jobs) = bounded(limits.claims);
        let (done, results) = unbounded();
        let (stop, stops) = bounded(1);
        let metrics = JobMetrics::new(registry, queue);
        let threads = (0..limits.threads)
            .map(|number| {
                let (handler, metrics) = (Arc::clone(&handler), metrics.clone());
                let (jobs, done) = (jobs.clone(), done.clone());
                let name = format!("{queue}-{number}");
                spawn(name, move || work(&*handler, &jobs, &done, &metrics))
            })
            .collect::<Result<_, _>>()?;
        let now = Instant::now();
        let queue_thread = QueueThread {
            database: database.clone(),
            connections: PoolMetrics::new(registry, queue, 1),
            queue,
            limits,
            handler,
            to_work,
            not_begun: jobs,
            results,
            stops,
            metrics,
            session: None,
            held: HashSet::new(),
            done: Vec::new(),
            empty_polls: 0,
            failures: 0,
            poll_at: now,
            prolong_at: now,
            measure_at: now,
            deadline: None,
        };
        Ok(Self {
            stop,
            queue_thread: spawn(format!("{queue}-queue"), move || queue_thread.run())?,
            threads,
        })
    }

    /// Claims no more jobs, releases those that are not begun, and waits for the others; at the deadline releases these too. A
    /// released job has not used up an attempt.
    pub fn finish(self, deadline: Instant) {
        let _ended_before = self.stop.send(deadline);
        let _panicked = self.queue_thread.join();
        for thread in self.threads {
            // Other threads still work, although their time is over. The process ends all the same.
            if thread.is_finished() || Instant::now() < deadline {
                let _panicked = thread.join();
            }
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(run)
}

/// Does the work of one job after the other, until the channel is closed.
fn work<H: Handler>(
    handler: &H,
    jobs: &Receiver<Job>,
    done: &Sender<Done<H::Outcome>>,
    metrics: &JobMetrics,
) {
    for job in jobs {
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| handler.work(&job)))
            .unwrap_or_else(|_logged| Err(WorkError::Retry("the work panicked".to_owned())));
        metrics.run_seconds.observe(begun.elapsed().as_secs_f64());
        if done.send((job, result)).is_err() {
            return;
        }
    }
}
