//! Stands between a replica and its database, knows where a transaction is, and cuts there.
//!
//! The writer sends a transaction as two packets of several statements each. A packet can be shortened between two
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
    /// `BEGIN`, the lock, and what is read under it.
    Lock,
    /// The writes, and `COMMIT`.
    Store,
}

impl Part {
    /// `sql` is the text of a packet.
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

/// What happens to a packet, or to the reply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The database gets and runs so many statements of it, then finds the connection closed. The replica finds it
    /// closed after that, and gets no reply. With more than there are, the whole packet is run, and its reply is lost.
    CutAfter(usize),
    /// The database gets half of the packet.
    CutPacket,
    /// The replica gets half of the reply.
    CutReply,
    /// The reply is kept until [`Interception::release`].
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

/// What becomes of a packet, decided before it comes. Dropped, it lets go what is held.
#[derive(Debug)]
pub struct Interception(Arc<Order>);

#[derive(Debug)]
struct Order {
    part: Part,
    action: Action,
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Awaited,
    /// The packet came. If something is held back, it is held now.
    Reached,
    Released,
}

impl Interception {
    /// Waits until it has come to it; false if it does not in time.
    #[must_use]
    pub fn reached(&self, patience: Duration) -> bool {
        self.0.wait(Stage::Reached, patience)
    }

    /// Lets go what is held.
    pub fn release(&self) {
        self.0.set(Stage::Released);
    }
}

impl Drop for Interception {
    fn drop(&mut self) {
        self.release();
    }
}

impl Order {
    fn set(&self, stage: Stage) {
        let mut now = self.stage.lock();
        *now = stage.max(*now);
        self.changed.notify_all();
    }

    /// Tells whether it came to it in time.
    fn wait(&self, stage: Stage, patience: Duration) -> bool {
        let mut now = self.stage.lock();
        let changed = &self.changed;
        changed.wait_while_for(&mut now, |now| *now < stage, patience);
        *now >= stage
    }
}

/// What all connections of a proxy share.
#[derive(Debug, Default)]
struct Shared {
    /// The next packet of its part gets what the order says.
    order: Mutex<Option<Arc<Order>>>,
    /// How many bytes pass until the connection that carries the last of them is cut; not lit if negative.
    fuse: AtomicI64,
    status: Mutex<HostStatus>,
    /// How long it takes to the database and back.
    round_trip: Mutex<Duration>,
    connects: AtomicUsize,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Connections of replicas on which nothing is said.
    silent: Mutex<Vec<TcpStream>>,
    /// From replicas: each waits for its answer before the next.
    packets: AtomicU64,
    closing: AtomicBool,
}

impl Shared {
    fn take_order(&self, part: Part) -> Option<Arc<Order>> {
        self.order.lock().take_if(|order| order.part == part)
    }

    /// How many of `length` bytes may pass, if the fuse burns down within them.
    fn burn(&self, length: usize) -> Option<usize> {
        if self.fuse.load(Ordering::Relaxed) < 0 {
            return None;
        }
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let before = self.fuse.fetch_sub(length, Ordering::Relaxed);
        // Only one of several that burn at the same time sees it cross zero.
        (0..length)
            .contains(&before)
            .then(|| usize::try_from(before).unwrap_or_default())
    }

    /// Ends all connections that are open.
    fn cut_all(&self) {
        for connection in std::mem::take(&mut *self.connections.lock()) {
            connection.close();
        }
        self.silent.lock().clear();
    }
}

/// A port of its own that leads to a database, as a host of it does, and may be cut. Several may lead to one database: then
/// they stand for hosts with the same data.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Leads to the database of this URL.
    pub fn to(url: &str) -> Result<Self, Box<dyn Error>> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), url)
    }

    /// As [`Self::to`], at this address.
    pub fn at(address: SocketAddr, url: &str) -> Result<Self, Box<dyn Error>> {
        let upstream = Upstream::of(url)?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            fuse: AtomicI64::new(-1),
            ..Shared::default()
        });
        let all = Arc::clone(&shared);
        let listening = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || accept(&listener, &upstream, &all))?;
        Ok(Self {
            url: url_at(url, address)?,
            address,
            shared,
            listening: Some(listening),
        })
    }

    /// The URL of the database by this way.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Decides what becomes of the next packet of this part. A decision of before that has not come to pass is void.
    #[must_use = "what is held is let go when this is dropped"]
    pub fn intercept(&self, part: Part, action: Action) -> Interception {
        let order = Arc::new(Order {
            part,
            action,
            stage: Mutex::new(Stage::Awaited),
            changed: Condvar::new(),
        });
        *self.shared.order.lock() = Some(Arc::clone(&order));
        Interception(order)
    }

    /// After so many more bytes, in whichever direction, the connection that carries them is cut.
    pub fn cut_after_bytes(&self, bytes: u32) {
        self.shared.fuse.store(bytes.into(), Ordering::Relaxed);
    }

    /// Nothing is cut any more for what [`Self::cut_after_bytes`] said.
    pub fn cut_after_no_bytes(&self) {
        self.shared.fuse.store(-1, Ordering::Relaxed);
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        self.shared.cut_all();
    }

    /// Says what the host behind it is like from now on, also on connections that exist.
    pub fn set(&self, status: HostStatus) {
        let mut now = self.shared.status.lock();
        *now = status;
        if status == HostStatus::Away {
            self.shared.cut_all();
        }
    }

    /// Says how long it takes to the database and back from now on.
    pub fn set_round_trip(&self, time: Duration) {
        *self.shared.round_trip.lock() = time;
    }

    /// How often somebody connected.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.shared.connects.load(Ordering::Relaxed)
    }

    /// How many round trips to the database there were so far.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        if let Some(order) = self.shared.order.lock().take() {
            order.set(Stage::Released);
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.shared.cut_all();
    }
}

fn accept(listener: &TcpListener, upstream: &Upstream, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::Relaxed) {
            return;
        }
        // A replica that went away, or a database that is away: the replica sees its connection closed.
        let Ok(stream) = stream else { continue };
        shared.connects.fetch_add(1, Ordering::Relaxed);
        // Locked until the connection is among the others: who shuts the way meanwhile would overlook it.
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
