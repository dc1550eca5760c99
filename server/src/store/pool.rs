//! Connections: how they are set up, pooled, and given up.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;
use r2d2_mysql::r2d2::event::{AcquireEvent, CheckoutEvent, TimeoutEvent};
use r2d2_mysql::r2d2::{self, ManageConnection, Pool, PooledConnection};

use crate::metrics::{DatabaseMetrics, PoolMetrics};

use super::hosts::{Hosts, NoConnection, Nowhere};

/// For pages and `/readyz`. The writer has one of its own, so that no reader takes it away.
const READING_CONNECTIONS: u32 = 4;
const WRITING_CONNECTIONS: u32 = 1;
/// Most connections of a replica that serves.
pub(super) const CONNECTIONS: u32 = READING_CONNECTIONS + WRITING_CONNECTIONS;
/// The packet in which a batch travels is this many times as large as its users and texts: hexadecimal takes two bytes
/// for one, and no row is without its numbers.
const PACKET_PER_BATCH: usize = 4;

/// How long the database may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// For one answer.
    pub answer: Duration,
}

impl Timeouts {
    /// How long to wait for the lock, in seconds. Shorter than for an answer: an answer that says that the wait is
    /// over leaves no doubt, a lost connection does.
    pub(super) fn lock_wait_seconds(&self) -> u64 {
        (self.answer.as_secs() / 2).max(1)
    }

    /// How long a writer may hold the lock without a word, in seconds: after this the database rolls it back, and the
    /// others go on. Longer than any pause of a healthy writer.
    pub(super) fn silence_seconds(&self) -> u64 {
        self.lock_wait_seconds()
    }

    /// How often a writer without work speaks, so that its connection is kept.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.silence_seconds()) / 3
    }
}

/// A database with the tables in it, and pools of connections to it.
#[derive(Clone)]
pub struct Store {
    hosts: Arc<Hosts>,
    writing: Pool<Sessions>,
    reading: Pool<Sessions>,
    timeouts: Timeouts,
    /// Bytes of users and texts that fit into one packet together.
    most_batch_bytes: usize,
}

impl Store {
    /// Connects when it must.
    pub(super) fn new(
        hosts: Hosts,
        timeouts: Timeouts,
        max_packet: usize,
        metrics: &DatabaseMetrics,
    ) -> Self {
        let hosts = Arc::new(hosts);
        let pool = |connections, metrics: &PoolMetrics| {
            Pool::builder()
                .max_size(connections)
                .min_idle(Some(0))
                .connection_timeout(timeouts.connect)
                .error_handler(Box::new(LogErrors))
                .event_handler(Box::new(Watch(metrics.clone())))
                .build_unchecked(Sessions {
                    hosts: Arc::clone(&hosts),
                    metrics: metrics.clone(),
                })
        };
        Self {
            writing: pool(WRITING_CONNECTIONS, &metrics.writing),
            reading: pool(READING_CONNECTIONS, &metrics.reading),
            hosts,
            timeouts,
            most_batch_bytes: max_packet / PACKET_PER_BATCH,
        }
    }

    /// A connection for reading, to the host that takes writes: what another shows may be old. Waits as long as
    /// connecting may take, but not while it is known that no host takes writes.
    ///
    /// # Errors
    /// If the database cannot be reached, or all connections are in use for that long.
    pub fn connection(&self) -> Result<Connection, r2d2::Error> {
        self.get(&self.reading)
    }

    /// What is wrong with the hosts, while none of several takes writes.
    #[must_use]
    pub fn nowhere(&self) -> Option<Nowhere> {
        self.hosts.nowhere()
    }

    /// A connection set up for writing; the writer keeps it.
    ///
    /// # Errors
    /// The text of it, if there is none.
    pub fn writing_connection(&self) -> Result<Connection, String> {
        let mut session = self.writing.get().map_err(|error| error.to_string())?;
        // Others wait for a writer that is silent while it holds the lock.
        let silence = self.timeouts.silence_seconds();
        session
            .query_drop(format!("SET SESSION wait_timeout = {silence}"))
            .map_err(|error| {
                session.give_up();
                error.to_string()
            })?;
        Ok(session)
    }

    /// Makes sure that the writer has a connection, or will get one: the account may have no more of them than readers
    /// and other replicas have taken. Waits as [`Self::connection`] does.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn check_writing(&self) -> Result<(), r2d2::Error> {
        if self.writing.state().connections > 0 {
            return Ok(());
        }
        self.get(&self.writing).map(drop)
    }

    fn get(&self, pool: &Pool<Sessions>) -> Result<Connection, r2d2::Error> {
        match self.hosts.nowhere() {
            None => pool.get(),
            Some(_) => pool.get_timeout(Duration::ZERO),
        }
    }

    /// Brings the gauges of the pools up to date.
    pub fn observe(&self, metrics: &DatabaseMetrics) {
        for (pool, metrics) in [
            (&self.writing, &metrics.writing),
            (&self.reading, &metrics.reading),
        ] {
            let state = pool.state();
            metrics.set_connections(state.connections, state.idle_connections, pool.max_size());
        }
    }

    /// How long it may take.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Bytes of users and texts that fit into one packet together.
    #[must_use]
    pub fn most_batch_bytes(&self) -> usize {
        self.most_batch_bytes
    }
}

/// A connection, and whether it may be used again. `r2d2_mysql` asks the server at each check-in; that costs a round
/// trip, and takes the late answer to a statement that timed out for a sign of health.
pub struct Session {
    connection: Conn,
    broken: bool,
    metrics: PoolMetrics,
}

impl Session {
    /// Not to be used again.
    pub fn give_up(&mut self) {
        if !self.broken {
            self.metrics.lost.inc();
        }
        self.broken = true;
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

/// A connection of the pool.
pub type Connection = PooledConnection<Sessions>;

/// Makes connections for the pool.
pub struct Sessions {
    hosts: Arc<Hosts>,
    metrics: PoolMetrics,
}

impl ManageConnection for Sessions {
    type Connection = Session;
    type Error = NoConnection;

    fn connect(&self) -> Result<Session, NoConnection> {
        let connection = self.hosts.connect().inspect_err(|_logged_by_the_pool| {
            self.metrics.not_opened.inc();
        })?;
        Ok(Session {
            connection,
            broken: false,
            metrics: self.metrics.clone(),
        })
    }

    fn is_valid(&self, session: &mut Session) -> Result<(), NoConnection> {
        self.hosts
            .check(&mut session.connection)
            .inspect_err(|_logged_by_the_pool| session.give_up())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.broken
    }
}

#[derive(Debug)]
struct LogErrors;

impl r2d2::HandleError<NoConnection> for LogErrors {
    fn handle_error(&self, error: NoConnection) {
        tracing::warn!(%error, "cannot connect to the database");
    }
}

/// Counts what happens in a pool.
#[derive(Debug)]
struct Watch(PoolMetrics);

impl r2d2::HandleEvent for Watch {
    fn handle_acquire(&self, _event: AcquireEvent) {
        self.0.opened.inc();
    }

    fn handle_checkout(&self, event: CheckoutEvent) {
        self.0.wait.observe(event.duration().as_secs_f64());
    }

    fn handle_timeout(&self, _event: TimeoutEvent) {
        self.0.timeouts.inc();
    }
}
