//! A durable queue in the service's own database: no broker beside it.
//!
//! * A job is enqueued in the caller's transaction, so that it appears together with what it is about, or not at all.
//! * It is claimed for a time, its lease. A worker prolongs the leases of what it holds; what a worker that died held is
//!   claimed by another when the lease is over.
//! * It ends in the transaction that writes its result. Each claim has a number, the attempt, which is compared there: a
//!   worker that has lost its lease cannot write, so a result is written once.
//! * What fails is tried again after a pause that grows, and ends after so many attempts with the last cause.
//!
//! All times are the database's: the clocks of the workers do not matter.
//!
//! One thread of each worker, the queue thread, says all that is said to the database: it ends what is done and claims anew
//! in one short transaction, whatever the number of jobs in it. The work is done by others meanwhile.

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

/// A job that is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What it was enqueued as.
    pub id: Uuid,
    /// What it was enqueued with.
    pub payload: Vec<u8>,
    /// Which claim of it this is, from 1 on.
    pub attempt: u32,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// When this claim was made.
    pub claimed_at: DateTime<Utc>,
    /// Why the attempt before failed.
    pub last_error: Option<String>,
}

/// One claim of a job: its id, and the attempt.
type Claim = (Uuid, u32);

impl Job {
    fn claim(&self) -> Claim {
        (self.id, self.attempt)
    }
}

/// Why work gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Another attempt may succeed.
    #[error("{0}")]
    Retry(String),
    /// No other attempt will.
    #[error("{0}")]
    Fatal(String),
}

/// What is done with the jobs of a queue.
pub trait Handler: Send + Sync + 'static {
    /// What the work gives, for [`Self::complete`].
    type Outcome: Send + 'static;

    /// Does the work, outside of any transaction, on one of several threads. It may be done again: by another worker, after
    /// this one has died or has lost its lease.
    ///
    /// # Errors
    /// [`WorkError`]
    fn work(&self, job: &Job) -> Result<Self::Outcome, WorkError>;

    /// Writes outcomes, in the transaction that ends these jobs. All of them are held by this worker.
    ///
    /// # Errors
    /// As the database says. Then nothing of the transaction stays, and each job is ended by itself; one that fails so is
    /// tried again like one whose work has failed.
    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Self::Outcome)],
    ) -> Result<(), DatabaseError>;

    /// Writes that a job has failed for good, in the transaction that ends it. Where those who worked on it died, the job is
    /// as it was for the last of them.
    ///
    /// # Errors
    /// As [`Self::complete`].
    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError>;
}

/// Limits of a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Threads that work.
    pub threads: usize,
    /// Most jobs that are held at a time: those beyond the number of threads wait for one here, and no other worker gets
    /// them. Work that takes long wants no more than the threads.
    pub claims: usize,
    /// How long a claim holds without being prolonged, which is done at least three times in it.
    pub lease: Duration,
    /// Most attempts.
    pub max_attempts: u32,
    /// The pauses between attempts.
    pub backoff: Backoff,
}

impl WorkerLimits {
    /// So many threads, each with one job; leases of 15 s, five attempts, and pauses of 1 s to a minute between them.
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

/// How work ended.
type Done<O> = (Job, Result<O, WorkError>);

/// Claims the jobs of a queue and works on them, until [`Worker::finish`].
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
            connections: PoolMetrics::new(registry, queue),
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
            dry_turns: 0,
            failures: 0,
            look_at: now,
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

    /// Claims nothing more, gives back what is not begun, and waits for what is; at the deadline that is given back too. What
    /// is given back has spent no attempt.
    pub fn finish(self, deadline: Instant) {
        let _ended_before = self.stop.send(deadline);
        let _panicked = self.queue_thread.join();
        for thread in self.threads {
            // The others hold on to work whose time is over; the process ends all the same.
            if thread.is_finished() || Instant::now() < deadline {
                let _panicked = thread.join();
            }
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(run)
}

/// Works on one job after the other, until there are no more.
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
