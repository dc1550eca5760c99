//! Pools of connections.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use mysql::Conn;
use mysql::prelude::Queryable;
use r2d2_mysql::r2d2::{self, ManageConnection};

use crate::thread_pool::ThreadPool;

use super::error::{DatabaseError, ErrorClass};
use super::hosts::Hosts;
use super::metrics::PoolMetrics;
use super::outage::{Access, DatabaseAway};
use super::primary::NoPrimary;
use super::setup::Database;

impl Database {
    /// A pool of at most `size` connections, with this name, which must be unique, in the metrics. It connects when it is used.
    #[must_use]
    pub fn pool(&self, name: &'static str, size: u8) -> Pool {
        let slots = r2d2::Pool::builder()
            .max_size(size.into())
            .min_idle(Some(0))
            .idle_timeout(Some(MAX_IDLE))
            .test_on_check_out(false)
            .build_unchecked(Slots);
        let threads = ThreadPool::new("database", size.into(), |query: Query| query());
        Pool {
            database: self.clone(),
            slots,
            threads: Arc::new(threads),
            metrics: PoolMetrics::new(&self.registry, name, size),
        }
    }

    /// A connection outside of any pool, counted by `metrics`. If it is silent for `wait_timeout` seconds, or for as long as one of
    /// a pool may be, the database closes it, and rolls its transaction back.
    ///
    /// # Errors
    /// What is wrong with each host.
    pub fn connect(
        &self,
        metrics: &PoolMetrics,
        wait_timeout: Option<u64>,
    ) -> Result<Session, DatabaseError> {
        let asked = Instant::now();
        let mut session = Session::open(&self.hosts, metrics)?;
        metrics.wait.observe(asked.elapsed().as_secs_f64());
        if let Some(seconds) = wait_timeout {
            session.query_drop(format!("SET SESSION wait_timeout = {seconds}"))?;
        }
        Ok(session)
    }
}

/// A pool of connections to the host that takes writes. A clone is the same pool.
#[derive(Clone)]
pub struct Pool {
    database: Database,
    slots: r2d2::Pool<Slots>,
    /// Run queries, so that callers can stop waiting for one that hangs.
    threads: Arc<ThreadPool<Query>>,
    metrics: PoolMetrics,
}

/// How long a connection may be idle before it is closed, which is checked every 30 s.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(20);

type Query = Box<dyn FnOnce() + Send>;

impl Pool {
    /// Runs `query` on a connection to the host that takes writes (another may show old data), and returns its result. Waits for
    /// nothing after the deadline: neither for a free connection, its check, or a new one, nor for the query, which is not begun
    /// after it. Success and failure are recorded in the [`Outage`](super::Outage), so an error that does not concern the
    /// database must be part of `T`.
    ///
    /// # Errors
    /// [`DatabaseAway`]
    pub fn run<T: Send + 'static>(
        &self,
        access: Access,
        deadline: Instant,
        query: impl FnOnce(&mut Conn) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseAway> {
        let asked = Instant::now();
        let Ok(mut slot) = self.slots.get_timeout(deadline - asked) else {
            self.metrics.timeouts.inc();
            return Err(self.away(access, &NotRun::AllBusy));
        };
        let (hosts, metrics) = (Arc::clone(&self.database.hosts), self.metrics.clone());
        let answer = self.run_until(access, deadline, move |begin| {
            let mut session = connected(&mut slot, &hosts, &metrics, deadline)?;
            metrics.wait.observe(asked.elapsed().as_secs_f64());
            if let Err(late) = begin() {
                *slot = Some(session);
                return Err(late);
            }
            match query(&mut session) {
                Ok(answer) => {
                    *slot = Some(session);
                    Ok(answer)
                }
                Err(error) => {
                    session.give_up();
                    Err(NotRun::Failed(error))
                }
            }
        })?;
        self.database.outage().succeed(access);
        Ok(answer)
    }

    /// Checks that the database takes writes, by an `update` that changes no row, and is refused whenever one that did would be.
    /// It must have a condition on a key, because `sql_safe_updates` refuses it otherwise.
    ///
    /// # Errors
    /// [`DatabaseAway`]
    pub fn check_writable(
        &self,
        deadline: Instant,
        update: &'static str,
    ) -> Result<(), DatabaseAway> {
        self.run(Access::CheckWritable, deadline, move |connection| {
            Ok(connection.query_drop(update)?)
        })
    }

    /// Checks that a connection can be made. It is counted by `metrics`.
    ///
    /// # Errors
    /// [`DatabaseAway`]
    pub fn check_connecting(
        &self,
        deadline: Instant,
        metrics: &PoolMetrics,
    ) -> Result<(), DatabaseAway> {
        let (hosts, metrics) = (Arc::clone(&self.database.hosts), metrics.clone());
        self.run_until(Access::CheckWritable, deadline, move |_begin| {
            let session = Session::open(&hosts, &metrics);
            session.map(drop).map_err(NotRun::NoConnection)
        })
    }

    fn away(&self, access: Access, cause: &NotRun) -> DatabaseAway {
        let no_primary = self.database.hosts.no_primary();
        DatabaseAway {
            incident: self.database.outage().fail(access, cause),
            no_primary: no_primary.map(|no_primary| no_primary.in_general()),
            outcome_unknown: access == Access::Write && cause.may_be_done(),
        }
    }

    /// Runs `work` on another thread, and waits for it until the deadline. Before it does what cannot be undone, `work` calls its
    /// argument, which fails if the deadline has passed.
    fn run_until<T: Send + 'static>(
        &self,
        access: Access,
        deadline: Instant,
        work: impl FnOnce(&dyn Fn() -> Result<(), NotRun>) -> Result<T, NotRun> + Send + 'static,
    ) -> Result<T, DatabaseAway> {
        let (answer_to, answer) = bounded(1);
        // Set by whichever is first: the query begins, or the deadline passes.
        let decided = Arc::new(AtomicBool::new(false));
        let is_first = Arc::clone(&decided);
        // The closure is dropped, with the slot that it holds, before the caller goes on.
        self.threads.submit(Box::new(move || {
            let begin = || {
                let is_late = is_first.swap(true, Ordering::AcqRel);
                (!is_late).then_some(()).ok_or(NotRun::NotBegun)
            };
            let _ = answer_to.send(work(&begin));
        }));
        let answer = match answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) if decided.swap(true, Ordering::AcqRel) => {
                Err(NotRun::Late)
            }
            Err(RecvTimeoutError::Timeout) => Err(NotRun::NotBegun),
            Err(RecvTimeoutError::Disconnected) => Err(NotRun::Panicked),
        };
        answer.map_err(|cause| self.away(access, &cause))
    }

    /// Brings the gauges of the connections up to date.
    pub fn observe(&self) {
        let slots = self.slots.state();
        let in_use = slots.connections.saturating_sub(slots.idle_connections);
        self.metrics.set_connections(in_use.into());
    }
}

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
enum NotRun {
    /// No slot was free before the deadline.
    #[error("all connections of the pool are in use")]
    AllBusy,
    /// No host gives a connection.
    #[error("{0}")]
    NoConnection(NoPrimary),
    /// The query failed.
    #[error("{0}")]
    Failed(DatabaseError),
    /// There was no connection, or it was not checked, before the deadline.
    #[error("no connection in time")]
    NotBegun,
    /// There was no answer before the deadline.
    #[error("no answer in time")]
    Late,
    /// The query panicked, or no thread could be started.
    #[error("the query panicked")]
    Panicked,
}

impl NotRun {
    /// Whether the database may have done what was asked.
    fn may_be_done(&self) -> bool {
        match self {
            Self::AllBusy | Self::NoConnection(_) | Self::NotBegun => false,
            Self::Late | Self::Panicked => true,
            Self::Failed(error) => matches!(
                error.class(),
                ErrorClass::Connection | ErrorClass::Unavailable
            ),
        }
    }
}

/// An open connection.
pub struct Session {
    connection: Conn,
    metrics: PoolMetrics,
}

impl Session {
    pub(super) fn open(hosts: &Arc<Hosts>, metrics: &PoolMetrics) -> Result<Self, NoPrimary> {
        let connection = hosts.connect();
        let connection = connection.inspect_err(|_| metrics.not_opened.inc())?;
        metrics.opened.inc();
        metrics.open.inc();
        Ok(Self {
            connection,
            metrics: metrics.clone(),
        })
    }

    /// Closes a connection that failed.
    pub fn give_up(self) {
        self.metrics.lost.inc();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}

impl Deref for Session {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.connection
    }
}

/// Makes the slots that r2d2 pools, each with a connection or without. Who holds a slot connects. r2d2 itself would go on trying
/// to connect in the background without need, and log each failure.
struct Slots;

impl ManageConnection for Slots {
    type Connection = Option<Session>;
    type Error = Infallible;

    fn connect(&self) -> Result<Option<Session>, Infallible> {
        Ok(None)
    }

    fn is_valid(&self, _slot: &mut Option<Session>) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _slot: &mut Option<Session>) -> bool {
        false
    }
}

/// The connection of a slot, checked, or a new one. None is made after the deadline.
fn connected(
    slot: &mut Option<Session>,
    hosts: &Arc<Hosts>,
    metrics: &PoolMetrics,
    deadline: Instant,
) -> Result<Session, NotRun> {
    if let Some(mut session) = slot.take() {
        if hosts.check(&mut session).is_ok() {
            return Ok(session);
        }
        session.give_up();
    }
    if Instant::now() >= deadline {
        return Err(NotRun::NotBegun);
    }
    Session::open(hosts, metrics).map_err(NotRun::NoConnection)
}
