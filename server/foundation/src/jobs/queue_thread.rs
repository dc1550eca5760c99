//! The queue thread: claims jobs, and ends them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use mysql::Conn;
use prometheus::IntCounter;

use super::metrics::JobMetrics;
use super::sql::Claimed;
use super::{Claim, Done, Handler, Job, WorkError, WorkerLimits, sql};
use crate::backoff::Backoff;
use crate::mysql::{Access, Database, DatabaseError, PoolMetrics, Recovery, Session, transaction};
use crate::telemetry::{Incident, size};

/// The pauses between polls while there are no jobs. A poll is one read of an index.
const IDLE_PAUSES: Backoff = Backoff {
    first: Duration::from_millis(2),
    longest: Duration::from_millis(100),
};
/// The pauses between attempts while the database fails.
const FAILURE_PAUSES: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};
/// How often the depth of the queue is measured.
const DEPTH_INTERVAL: Duration = Duration::from_secs(5);
/// A lease is prolonged so many times in its length, at least.
const PROLONGATIONS: u32 = 3;

pub(super) struct QueueThread<H: Handler> {
    pub(super) database: Database,
    pub(super) connections: PoolMetrics,
    pub(super) queue: &'static str,
    pub(super) limits: WorkerLimits,
    pub(super) handler: Arc<H>,
    pub(super) to_work: Sender<Job>,
    /// The receiving end of `to_work`.
    pub(super) not_begun: Receiver<Job>,
    pub(super) results: Receiver<Done<H::Outcome>>,
    pub(super) stops: Receiver<Instant>,
    pub(super) metrics: JobMetrics,
    pub(super) session: Option<Session>,
    /// Claims of jobs that have not ended.
    pub(super) held: HashSet<Claim>,
    /// Jobs whose work is done, and whose results are not written yet.
    pub(super) done: Vec<Done<H::Outcome>>,
    /// How many polls in a row found no job.
    pub(super) empty_polls: u32,
    /// How many turns in a row failed.
    pub(super) failures: u32,
    pub(super) poll_at: Instant,
    pub(super) prolong_at: Instant,
    pub(super) measure_at: Instant,
    /// The deadline of a stop; none before.
    pub(super) deadline: Option<Instant>,
}

impl<H: Handler> QueueThread<H> {
    /// Runs until it is stopped and all claimed jobs have ended, or until its deadline.
    pub(super) fn run(mut self) {
        loop {
            self.connections.set_connections(1);
            self.wait();
            if let Some(deadline) = self.deadline
                && (self.held.is_empty() || Instant::now() >= deadline)
            {
                let held = std::mem::take(&mut self.held);
                return self.release(&held);
            }
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            let error = match turn {
                Ok(Ok(())) => {
                    self.database.outage().succeed(Access::Write);
                    self.failures = 0;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_logged) => {
                    // Most likely the panic came from writing one of these results, and would come again.
                    for (_job, result) in &mut self.done {
                        let panicked = "the outcome could not be written: that panicked";
                        *result = Err(WorkError::Retry(panicked.to_owned()));
                    }
                    "the queue's thread panicked".to_owned()
                }
            };
            self.database.outage().fail(Access::Write, &error);
            if let Some(session) = self.session.take() {
                session.give_up();
            }
            self.poll_at = Instant::now() + FAILURE_PAUSES.pause(self.failures);
            self.failures += 1;
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let deadline = self.deadline.unwrap_or(self.poll_at);
        let until = deadline.min(self.poll_at);
        // After a failure it waits for the whole pause, whatever else is due or comes meanwhile.
        if self.failures > 0 {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        } else if self.done.is_empty() {
            select! {
                recv(self.results) -> done => self.done.extend(done),
                recv(self.stops) -> deadline => self.stop(deadline.unwrap_or_else(|_| Instant::now())),
                recv(crossbeam_channel::at(until.min(self.prolong_at))) -> _ => {}
            }
        }
        if let Ok(deadline) = self.stops.try_recv() {
            self.stop(deadline);
        }
        self.done.extend(self.results.try_iter());
    }

    fn stop(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
        let not_begun: HashSet<_> = self.not_begun.try_iter().map(|job| job.claim()).collect();
        self.held.retain(|claim| !not_begun.contains(claim));
        self.release(&not_begun);
    }

    /// One turn: prolongs leases, ends jobs and claims others, as far as this is due.
    fn turn(&mut self) -> Result<(), DatabaseError> {
        // A process that freezes within a transaction keeps its locks no longer than this.
        let wait_timeout = Some(self.database.timeouts().wait_timeout_seconds());
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.database.connect(&self.connections, wait_timeout)?,
        };
        let turn = self.turn_on(&mut session);
        self.session = Some(session);
        turn
    }

    fn turn_on(&mut self, connection: &mut Conn) -> Result<(), DatabaseError> {
        let now = Instant::now();
        if now >= self.prolong_at {
            self.prolong(connection)?;
        }
        if now >= self.measure_at {
            let (jobs, oldest) = sql::depth(connection, self.queue)?;
            self.metrics.depth.set(jobs);
            self.metrics.oldest_seconds.set(oldest);
            self.measure_at = now + DEPTH_INTERVAL;
        }
        let room = match self.deadline {
            Some(_) => 0,
            None => self.limits.claims - self.held.len() + self.done.len(),
        };
        let polls = now >= self.poll_at;
        if !self.done.is_empty() || (room > 0 && polls && sql::is_due(connection, self.queue)?) {
            self.end_and_claim(connection, room)?;
        } else if polls {
            self.empty_polls += 1;
        }
        self.poll_at = Instant::now() + IDLE_PAUSES.pause(self.empty_polls);
        Ok(())
    }

    fn prolong(&mut self, connection: &mut Conn) -> Result<(), DatabaseError> {
        if !self.held.is_empty() {
            let lost = sql::prolong(connection, &self.held, self.limits.lease)?;
            if lost > 0 {
                tracing::warn!(
                    queue = self.queue,
                    lost,
                    "claims were lost while they were worked on"
                );
            }
        }
        // Before the database closes the connection because it is idle.
        let keep_alive = self.database.timeouts().keep_alive();
        self.prolong_at = Instant::now() + keep_alive.min(self.limits.lease / PROLONGATIONS);
        Ok(())
    }

    /// Ends jobs that are done, and claims up to `room` others, in one transaction.
    fn end_and_claim(&mut self, connection: &mut Conn, room: usize) -> Result<(), DatabaseError> {
        let done = transaction(connection, |transaction| {
            let ended = self.end(transaction, &self.done)?;
            let claimed = sql::claim(transaction, self.queue, room, self.limits.lease)?;
            Ok((ended, claimed))
        });
        let (ended, claimed) = match done {
            Ok(done) => done,
            Err(error) if error.recovery() == Recovery::TryAgain => return Ok(()),
            // Ending each by itself shows which one the database refuses.
            Err(error) if is_refusal(&error) && !self.done.is_empty() => {
                return self.end_singly(connection);
            }
            Err(error) => return Err(error),
        };
        ended.into_iter().for_each(IntCounter::inc);
        for (job, _result) in self.done.drain(..) {
            self.held.remove(&job.claim());
        }
        self.empty_polls = if claimed.is_empty() {
            self.empty_polls + 1
        } else {
            0
        };
        for job in claimed {
            self.hand_out(job);
        }
        self.metrics.held.set(size(self.held.len()));
        Ok(())
    }

    /// Ends each job that is done in a transaction of its own. One that the database refuses is retried later, like one whose
    /// work failed.
    fn end_singly(&mut self, connection: &mut Conn) -> Result<(), DatabaseError> {
        while let Some(last) = self.done.len().checked_sub(1) {
            match transaction(connection, |transaction| {
                self.end(transaction, &self.done[last..])
            }) {
                Ok(ended) => {
                    ended.into_iter().for_each(IntCounter::inc);
                    self.held.remove(&self.done[last].0.claim());
                    self.done.truncate(last);
                }
                // If even the failure of a job is refused, the fault lies with the database.
                Err(error) if is_refusal(&error) && self.done[last].1.is_ok() => {
                    let (job, result) = &mut self.done[last];
                    let incident = Incident::draw();
                    tracing::warn!(instance = %incident, queue = self.queue, job = %job.id, %error, "an outcome is refused");
                    let cause =
                        format!("the outcome was refused; the log tells why, by {incident}");
                    *result = Err(WorkError::Retry(cause));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the results of jobs whose claims still hold, and ends or releases them. Returns the counter for each job.
    fn end(
        &self,
        transaction: &mut Conn,
        done: &[Done<H::Outcome>],
    ) -> Result<Vec<&IntCounter>, DatabaseError> {
        let mut ended = Vec::new();
        if done.is_empty() {
            return Ok(ended);
        }
        let held = sql::lock_held(transaction, done.iter().map(|(job, _)| job))?;
        let (mut over, mut outcomes) = (Vec::new(), Vec::new());
        for (job, result) in done {
            let counter = match result {
                _ if !held.contains(&job.claim()) => &self.metrics.leases_lost,
                Ok(outcome) => {
                    over.push(job);
                    outcomes.push((job, outcome));
                    &self.metrics.done
                }
                Err(WorkError::Retry(cause)) if job.attempt < self.limits.max_attempts => {
                    let pause = self.limits.backoff.pause(job.attempt - 1);
                    sql::retry(transaction, job, pause, cause)?;
                    &self.metrics.retried
                }
                Err(WorkError::Retry(cause) | WorkError::Fatal(cause)) => {
                    // A claim that only gives the job up is no attempt.
                    let last = Job {
                        attempt: job.attempt.min(self.limits.max_attempts),
                        ..job.clone()
                    };
                    self.handler.fail(transaction, &last, cause)?;
                    over.push(job);
                    &self.metrics.failed
                }
            };
            ended.push(counter);
        }
        if !outcomes.is_empty() {
            self.handler.complete(transaction, &outcomes)?;
        }
        if !over.is_empty() {
            sql::end(transaction, &over)?;
        }
        Ok(ended)
    }

    /// Passes a claimed job to a thread; or ends it if it was claimed too often, because the workers that had it died.
    fn hand_out(&mut self, (mut job, claimed_before): Claimed) {
        self.metrics.claimed.inc();
        self.held.insert(job.claim());
        if job.attempt == 1 {
            let wait = (job.claimed_at - job.enqueued_at).to_std();
            self.metrics
                .wait_seconds
                .observe(wait.unwrap_or_default().as_secs_f64());
        }
        if job.attempt > self.limits.max_attempts {
            job.claimed_at = claimed_before.unwrap_or(job.claimed_at);
            let cause = job.last_error.clone();
            let cause = cause.unwrap_or_else(|| "who worked on it died each time".to_owned());
            self.done.push((job, Err(WorkError::Fatal(cause))));
        } else {
            let sent = self.to_work.send(job);
            sent.expect("this thread holds a receiver, and what is held fits in");
        }
    }

    /// Releases claims.
    fn release(&mut self, claims: &HashSet<Claim>) {
        let Some(connection) = self.session.as_mut().filter(|_| !claims.is_empty()) else {
            return;
        };
        tracing::info!(
            queue = self.queue,
            jobs = claims.len(),
            "giving back what is not done"
        );
        if let Err(error) = sql::release(connection, claims) {
            tracing::warn!(queue = self.queue, %error, "jobs are claimed again when their leases are over");
        }
    }
}

/// Whether the database refuses something that was to be written.
fn is_refusal(error: &DatabaseError) -> bool {
    matches!(error.recovery(), Recovery::TrySingly | Recovery::Split)
}
