//! Connections: how they are set up, pooled, and given up.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use mysql::Conn;
use mysql::prelude::Queryable;
use r2d2_mysql::r2d2::{ManageConnection, Pool};

use crate::metrics::{DatabaseMetrics, PoolMetrics};
use foundation::http::Workers;
use foundation::telemetry::Outage;

use super::hosts::{Hosts, NoPrimary};

/// For pages and `/readyz`. The writer has one of its own, so that no reader takes it away.
const READING_CONNECTIONS: u8 = 4;
const WRITING_CONNECTIONS: u8 = 1;
/// Most connections of a replica that serves.
pub(super) const CONNECTIONS: u8 = READING_CONNECTIONS + WRITING_CONNECTIONS;

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

/// A database with the tables in it, and connections to it.
#[derive(Clone)]
pub struct Store {
    hosts: Arc<Hosts>,
    reading: Pool<Slots>,
    /// Does what may hang on the database, so that those who wait for it can go away.
    queries: Arc<Workers<Query>>,
    timeouts: Timeouts,
    metrics: DatabaseMetrics,
    outage: Arc<Outage>,
}

type Query = Box<dyn FnOnce() + Send>;

impl Store {
    /// Connects when it must.
    pub(super) fn new(hosts: Hosts, timeouts: Timeouts, metrics: &DatabaseMetrics) -> Self {
        let reading = Pool::builder()
            .max_size(READING_CONNECTIONS.into())
            .min_idle(Some(0))
            .test_on_check_out(false)
            .build_unchecked(Slots);
        let threads = READING_CONNECTIONS.into();
        Self {
            hosts: Arc::new(hosts),
            reading,
            queries: Arc::new(Workers::new("database", threads, |query: Query| query())),
            timeouts,
            metrics: metrics.clone(),
            outage: Arc::default(),
        }
    }

    /// What `query` gives on a connection to the host that takes writes: what another shows may be old. Nothing is waited
    /// for after the deadline: neither a free connection, nor its check, nor a new one, nor the query.
    ///
    /// # Errors
    /// [`NotRead`]
    pub fn read<T: Send + 'static>(
        &self,
        deadline: Instant,
        query: impl FnOnce(&mut Conn) -> Result<T, mysql::Error> + Send + 'static,
    ) -> Result<T, NotRead> {
        let metrics = self.metrics.reading.clone();
        let asked = Instant::now();
        let slot = self.reading.get_timeout(deadline - asked);
        let Ok(mut slot) = slot else {
            metrics.timeouts.inc();
            return Err(NotRead::AllBusy);
        };
        let hosts = Arc::clone(&self.hosts);
        self.until(deadline, move || {
            let mut session = slot.connected(&hosts, &metrics, deadline)?;
            metrics.wait.observe(asked.elapsed().as_secs_f64());
            match query(&mut session) {
                Ok(answer) => {
                    slot.0 = Some(session);
                    Ok(answer)
                }
                Err(error) => {
                    session.give_up();
                    Err(NotRead::Failed(error))
                }
            }
        })
    }

    /// Makes sure that the writer has a connection, or will get one: the account may have no more of them than readers and
    /// other replicas have taken.
    ///
    /// # Errors
    /// [`NotRead`]
    pub fn check_writer(&self, deadline: Instant) -> Result<(), NotRead> {
        let metrics = self.metrics.writing.clone();
        if metrics.open.get() > 0 {
            return Ok(());
        }
        let hosts = Arc::clone(&self.hosts);
        self.until(deadline, move || {
            let session = Session::open(&hosts, &metrics);
            session.map(drop).map_err(NotRead::NoConnection)
        })
    }

    /// Has `work` done by a thread that may hang on the database, and waits for it until the deadline.
    fn until<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, NotRead> + Send + 'static,
    ) -> Result<T, NotRead> {
        let (answer_to, answer) = bounded(1);
        // What `work` holds is free again before whoever waits goes on.
        self.queries.submit(Box::new(move || {
            let _ = answer_to.send(work());
        }));
        match answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(NotRead::Late),
            Err(RecvTimeoutError::Disconnected) => Err(NotRead::Panicked),
        }
    }

    /// What fails and succeeds on the database, for the log.
    #[must_use]
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    /// What is wrong with the hosts, while none of several takes writes.
    #[must_use]
    pub fn no_primary(&self) -> Option<NoPrimary> {
        self.hosts.no_primary()
    }

    /// A connection set up for writing; the writer keeps it.
    ///
    /// # Errors
    /// The text of it, if there is none.
    pub fn writing_connection(&self) -> Result<WritingConnection, String> {
        let (metrics, asked) = (&self.metrics.writing, Instant::now());
        let mut session =
            Session::open(&self.hosts, metrics).map_err(|no_primary| no_primary.to_string())?;
        metrics.wait.observe(asked.elapsed().as_secs_f64());
        // Others wait for a writer that is silent while it holds the lock.
        let wait_timeout = self.timeouts.silence_seconds();
        let packet = session
            .query_drop(format!("SET SESSION wait_timeout = {wait_timeout}"))
            .and_then(|()| max_packet(&mut session));
        match packet {
            Ok(max_packet) => Ok(WritingConnection {
                session,
                max_packet,
            }),
            Err(error) => {
                session.give_up();
                Err(error.to_string())
            }
        }
    }

    /// Brings the gauges of the connections up to date.
    pub fn observe(&self) {
        self.metrics.writing.set_connections(1, 1);
        let slots = self.reading.state();
        let in_use = slots.connections.saturating_sub(slots.idle_connections);
        let reading = &self.metrics.reading;
        reading.set_connections(in_use.into(), READING_CONNECTIONS);
    }

    /// How long it may take.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// The largest statement that the server takes on this connection, in bytes. Set for good when the connection is made.
pub(super) fn max_packet(connection: &mut Conn) -> Result<usize, mysql::Error> {
    let bytes: Option<usize> = connection.query_first("SELECT @@max_allowed_packet")?;
    bytes.ok_or_else(|| mysql::DriverError::UnexpectedPacket.into())
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// Until the deadline.
    #[error("all connections for reading are in use")]
    AllBusy,
    /// No host gives a connection.
    #[error("{0}")]
    NoConnection(NoPrimary),
    /// The database did, or the way to it.
    #[error("{0}")]
    Failed(mysql::Error),
    /// There was no answer until the deadline.
    #[error("no answer in time")]
    Late,
    /// The driver did, or a thread could not be started.
    #[error("the query panicked")]
    Panicked,
}

/// An open connection.
pub struct Session {
    connection: Conn,
    metrics: PoolMetrics,
}

impl Session {
    fn open(hosts: &Hosts, metrics: &PoolMetrics) -> Result<Self, NoPrimary> {
        match hosts.connect() {
            Ok(connection) => {
                metrics.opened.inc();
                metrics.open.inc();
                Ok(Self {
                    connection,
                    metrics: metrics.clone(),
                })
            }
            Err(no_primary) => {
                metrics.not_opened.inc();
                Err(no_primary)
            }
        }
    }

    /// Closes it, as it failed.
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

/// A connection set up for writing.
pub struct WritingConnection {
    /// The connection.
    pub session: Session,
    /// The largest statement that it takes, in bytes.
    pub max_packet: usize,
}

/// A place in the pool, with a connection or without. What holds it may connect, and is waited for; the pool itself would
/// go on trying to connect in the background although nobody asks, and log each failure.
pub(super) struct Slot(Option<Session>);

impl Slot {
    /// Takes the connection out, checked, or a new one. Begins nothing after the deadline.
    fn connected(
        &mut self,
        hosts: &Hosts,
        metrics: &PoolMetrics,
        deadline: Instant,
    ) -> Result<Session, NotRead> {
        let in_time = || {
            (Instant::now() < deadline)
                .then_some(())
                .ok_or(NotRead::Late)
        };
        in_time()?;
        if let Some(mut session) = self.0.take() {
            if hosts.check(&mut session).is_ok() {
                return Ok(session);
            }
            session.give_up();
            in_time()?;
        }
        Session::open(hosts, metrics).map_err(NotRead::NoConnection)
    }
}

/// Makes places for the pool.
pub(super) struct Slots;

impl ManageConnection for Slots {
    type Connection = Slot;
    type Error = Infallible;

    fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot(None))
    }

    fn is_valid(&self, _slot: &mut Slot) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _slot: &mut Slot) -> bool {
        false
    }
}
