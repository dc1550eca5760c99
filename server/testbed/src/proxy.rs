//! A proxy between a replica and its database, which can cut a transaction at an exact statement.
//!
//! The writer sends a transaction as two packets of several statements each. The proxy can truncate a packet between two
//! statements, so "cut after the second statement" is exact: the database runs two, and then finds the connection closed.

mod connection;
mod status;

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use socket2::Socket;

use crate::{Upstream, url_at};
use connection::Connection;
pub use status::{HostStatus, signal};

/// The two packets of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `BEGIN`, the lock, and the reads under it.
    Lock,
    /// The writes, and `COMMIT`.
    Store,
}

impl Part {
    /// Which part a packet with these statements is, if any.
    fn of(sql: &[u8]) -> Option<Self> {
        if sql.starts_with(b"BEGIN;") {
            Some(Self::Lock)
        } else if sql.ends_with(b";COMMIT") {
            Some(Self::Store)
        } else {
            None
        }
    }
}

/// What the proxy does with a packet, or with the reply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The database gets and runs so many statements, and then finds the connection closed. After that the replica finds it
    /// closed too, without a reply. With more statements than there are, the whole packet is run, and its reply is lost.
    CutAfter(usize),
    /// The database gets half of the packet.
    CutPacket,
    /// The replica gets half of the reply.
    CutReply,
    /// The reply is held back until [`Interception::release`].
    HoldReply,
    /// The replica finds the connection closed at once; the database gets the packet at [`Interception::release`].
    Delay,
}

impl fmt::Display for Action {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutAfter(usize::MAX) => write!(to, "the reply lost"),
            Self::CutAfter(statements) => write!(to, "cut after statement {statements}"),
            Self::CutPacket => write!(to, "cut within the packet"),
            Self::CutReply => write!(to, "cut within the reply"),
            Self::HoldReply => write!(to, "the reply held"),
            Self::Delay => write!(to, "the packet delayed"),
        }
    }
}

/// An action for the next packet of a part. Dropping it releases what is held back, or cancels the action if no packet has come.
#[derive(Debug)]
pub struct Interception(Arc<Rule>);

#[derive(Debug)]
struct Rule {
    part: Part,
    action: Action,
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Pending,
    /// The action has begun. If it holds something back, that is held now.
    Reached,
    Released,
}

impl Interception {
    /// Waits until the action has begun. Returns false if that takes longer than `timeout`.
    #[must_use]
    pub fn reached(&self, timeout: Duration) -> bool {
        self.0.wait(Stage::Reached, timeout)
    }

    /// Releases what is held back.
    pub fn release(&self) {
        self.0.set(Stage::Released);
    }
}

impl Drop for Interception {
    fn drop(&mut self) {
        self.release();
    }
}

impl Rule {
    fn set(&self, stage: Stage) {
        let mut now = self.stage.lock();
        *now = stage.max(*now);
        self.changed.notify_all();
    }

    /// Waits for a stage. Returns false if it is not reached in time.
    fn wait(&self, stage: Stage, timeout: Duration) -> bool {
        let mut now = self.stage.lock();
        let changed = &self.changed;
        changed.wait_while_for(&mut now, |now| *now < stage, timeout);
        *now >= stage
    }
}

/// State that all connections of a proxy share.
#[derive(Debug, Default)]
struct Shared {
    /// The rule for the next packet of its part.
    rule: Mutex<Option<Arc<Rule>>>,
    /// How many more bytes pass until the connection that carries the last of them is cut; negative for no cut.
    bytes_until_cut: AtomicI64,
    status: Mutex<HostStatus>,
    /// The simulated round-trip time to the database.
    round_trip: Mutex<Duration>,
    connects: AtomicUsize,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Connections of replicas to a silent host.
    silent: Mutex<Vec<TcpStream>>,
    /// Packets from replicas. Each is one round trip, because a replica waits for the reply before it sends the next.
    packets: AtomicU64,
    closing: AtomicBool,
}

impl Shared {
    fn take_rule(&self, part: Part) -> Option<Arc<Rule>> {
        let rule = self.rule.lock().take_if(|rule| rule.part == part)?;
        let is_dropped = *rule.stage.lock() == Stage::Released;
        (!is_dropped).then_some(rule)
    }

    /// Counts `length` bytes that pass. If the connection is to be cut within them, returns how many of them may pass.
    fn count_bytes(&self, length: usize) -> Option<usize> {
        if self.bytes_until_cut.load(Ordering::Relaxed) < 0 {
            return None;
        }
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let before = self.bytes_until_cut.fetch_sub(length, Ordering::Relaxed);
        // If several threads count at the same time, only one sees the counter cross zero.
        (0..length)
            .contains(&before)
            .then(|| usize::try_from(before).unwrap_or_default())
    }

    /// Closes all connections.
    fn cut_all(&self) {
        for connection in std::mem::take(&mut *self.connections.lock()) {
            connection.close();
        }
        self.silent.lock().clear();
    }
}

/// Listens on a port of its own, and forwards connections to a database. Several proxies of one database simulate several hosts
/// with the same data.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy for the database at this URL, on any free port of loopback.
    pub fn to(url: &str) -> Result<Self, Box<dyn Error>> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), url)
    }

    /// As [`Self::to`], but listens on this address.
    pub fn at(address: SocketAddr, url: &str) -> Result<Self, Box<dyn Error>> {
        let upstream = Upstream::of(url)?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            bytes_until_cut: AtomicI64::new(-1),
            ..Shared::default()
        });
        let for_thread = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || accept(&listener, &upstream, &for_thread))?;
        Ok(Self {
            url: url_at(url, address)?,
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// The URL of the database through this proxy.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the action for the next packet of this part. Replaces an earlier rule that no packet has matched yet.
    #[must_use = "dropping it releases what is held back"]
    pub fn intercept(&self, part: Part, action: Action) -> Interception {
        let rule = Arc::new(Rule {
            part,
            action,
            stage: Mutex::new(Stage::Pending),
            changed: Condvar::new(),
        });
        *self.shared.rule.lock() = Some(Arc::clone(&rule));
        Interception(rule)
    }

    /// After so many more bytes, counted in both directions, cuts the connection that carries the last of them.
    pub fn cut_after_bytes(&self, bytes: u32) {
        self.shared
            .bytes_until_cut
            .store(bytes.into(), Ordering::Relaxed);
    }

    /// Cancels [`Self::cut_after_bytes`]. Returns false if the cut has happened.
    #[must_use]
    pub fn cancel_cut_after_bytes(&self) -> bool {
        self.shared.bytes_until_cut.swap(-1, Ordering::Relaxed) >= 0
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        self.shared.cut_all();
    }

    /// Sets how the simulated host behaves from now on, also on existing connections.
    pub fn set(&self, status: HostStatus) {
        let mut now = self.shared.status.lock();
        *now = status;
        if status == HostStatus::Away {
            self.shared.cut_all();
        }
    }

    /// Sets the simulated round-trip time to the database.
    pub fn set_round_trip(&self, time: Duration) {
        *self.shared.round_trip.lock() = time;
    }

    /// The number of accepted connections so far.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.shared.connects.load(Ordering::Relaxed)
    }

    /// The number of round trips to the database so far.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        if let Some(rule) = self.shared.rule.lock().take() {
            rule.set(Stage::Released);
        }
        // Wakes the accept thread.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.cut_all();
    }
}

fn accept(listener: &TcpListener, upstream: &Upstream, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::Relaxed) {
            return;
        }
        // If this fails, or the database cannot be reached below, the replica finds its connection closed.
        let Ok(stream) = stream else { continue };
        shared.connects.fetch_add(1, Ordering::Relaxed);
        // Locked until the connection is registered; otherwise `set` could miss it when it cuts all connections.
        let status = shared.status.lock();
        match *status {
            HostStatus::Away => continue,
            HostStatus::Silent => {
                shared.silent.lock().push(stream);
                continue;
            }
            HostStatus::TakesWrites | HostStatus::ReadOnly | HostStatus::Full => {}
        }
        let Ok(database) = upstream.connect() else {
            continue;
        };
        let Ok(connection) = Connection::start(Socket::from(stream), database, shared) else {
            continue;
        };
        let mut connections = shared.connections.lock();
        connections.retain(|connection| connection.is_open());
        connections.push(connection);
    }
}
