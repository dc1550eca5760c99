//! The queue thread: says to the database what is said of jobs.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use mysql::Conn;
use mysql::prelude::Queryable;
use prometheus::IntCounter;

use super::metrics::JobMetrics;
use super::sql::Claimed;
use super::{Claim, Done, Handler, Job, WorkError, WorkerLimits, sql};
use crate::backoff::Backoff;
use crate::mysql::{Access, Database, DatabaseError, PoolMetrics, Recovery, Session, transaction};
use crate::telemetry::{Incident, size};

/// The pauses between questions while there are no jobs. Each question is one read of an index.
const DRY: Backoff = Backoff {
    first: Duration::from_millis(2),
    longest: Duration::from_millis(100),
};
/// The pauses between tries while the database does not do what is asked.
const AWAY: Backoff = Backoff {
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
    /// The other end of `to_work`.
    pub(super) not_begun: Receiver<Job>,
    pub(super) results: Receiver<Done<H::Outcome>>,
    pub(super) stops: Receiver<Instant>,
    pub(super) metrics: JobMetrics,
    pub(super) session: Option<Session>,
    /// What is claimed and not ended.
    pub(super) held: HashSet<Claim>,
    /// What ended and is not written yet.
    pub(super) done: Vec<Done<H::Outcome>>,
    /// Turns in a row that found nothing to claim.
    pub(super) dry_turns: u32,
    /// Turns in a row that failed.
    pub(super) failures: u32,
    pub(super) look_at: Instant,
    pub(super) prolong_at: Instant,
    pub(super) measure_at: Instant,
    /// Set when it is to stop: when that must be over.
    pub(super) deadline: Option<Instant>,
}

impl<H: Handler> QueueThread<H> {
    /// Works until it is stopped and holds nothing any more, or its time is over.
    pub(super) fn run(mut self) {
        loop {
            self.connections.set_connections(1, 1);
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
                Ok(Err(error)) => error,
                Err(_logged) => {
                    // Most likely while one of them was written, which would panic again.
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
            self.look_at = Instant::now() + AWAY.pause(self.failures);
            self.failures += 1;
        }
    }

    /// Waits until there is something to say.
    fn wait(&mut self) {
        let deadline = self.deadline.unwrap_or(self.look_at);
        let until = deadline.min(self.look_at);
        // What failed is tried again after its pause, whatever else is due or comes meanwhile.
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

    /// One conversation with the database.
    fn turn(&mut self) -> Result<(), String> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect()?,
        };
        let turn = self.talk(&mut session);
        self.session = Some(session);
        turn.map_err(|error| error.to_string())
    }

    fn connect(&self) -> Result<Session, String> {
        let session = self.database.connect(&self.connections);
        let mut session = session.map_err(|no_primary| no_primary.to_string())?;
        // A process that freezes in the midst of a transaction keeps its locks for no longer.
        let timeout = self.database.timeouts().wait_timeout_seconds();
        session
            .query_drop(format!("SET SESSION wait_timeout = {timeout}"))
            .map_err(|error| error.to_string())?;
        Ok(session)
    }

    fn talk(&mut self, connection: &mut Conn) -> Result<(), DatabaseError> {
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
        let looks = now >= self.look_at;
        if !self.done.is_empty() || (room > 0 && looks && sql::is_due(connection, self.queue)?) {
            self.end_and_claim(connection, room)?;
        } else if looks {
            self.dry_turns += 1;
        }
        self.look_at = Instant::now() + DRY.pause(self.dry_turns);
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
        // Not as long as the database takes a connection that says nothing for lost.
        let keep_alive = self.database.timeouts().keep_alive();
        self.prolong_at = Instant::now() + keep_alive.min(self.limits.lease / PROLONGATIONS);
        Ok(())
    }

    /// Ends what is done, and claims up to `room` jobs, in one transaction.
    fn end_and_claim(&mut self, connection: &mut Conn, room: usize) -> Result<(), DatabaseError> {
        let done = transaction(connection, |transaction| {
            let ended = self.end(transaction, &self.done)?;
            let claimed = sql::claim(transaction, self.queue, room, self.limits.lease)?;
            Ok((ended, claimed))
        });
        let (ended, claimed) = match done {
            Ok(done) => done,
            Err(error) if error.recovery() == Recovery::TryAgain => return Ok(()),
            // Which one the database refuses is seen when each is ended by itself.
            Err(error) if is_refusal(&error) && !self.done.is_empty() => {
                return self.end_singly(connection);
            }
            Err(error) => return Err(error),
        };
        ended.into_iter().for_each(IntCounter::inc);
        for (job, _result) in self.done.drain(..) {
            self.held.remove(&job.claim());
        }
        self.dry_turns = if claimed.is_empty() {
            self.dry_turns + 1
        } else {
            0
        };
        for job in claimed {
            self.hand_out(job);
        }
        self.metrics.held.set(size(self.held.len()));
        Ok(())
    }

    /// Ends each that is done in a transaction of its own. What the database refuses is tried again later, like work that
    /// failed.
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
                // A refusal of what says that the work failed is the database's own trouble.
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

    /// Writes what came of the jobs that are still held, and ends them or gives them back. Gives what counts each of them.
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
                    // A claim that gives it up is no attempt.
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

    /// Gives a job that was claimed to a thread. Not one that has been claimed too often: those who worked on it died.
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

    /// Gives back what was claimed.
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

/// Whether the database refuses something in what was to be written.
fn is_refusal(error: &DatabaseError) -> bool {
    matches!(error.recovery(), Recovery::TrySingly | Recovery::Split)
}
