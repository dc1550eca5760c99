//! The listening socket, and the nudge that keeps `tiny_http` from forgetting a connection.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds ready before they are accepted; it takes the less of this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A new connection has come lately: a burst may be under way, and each nudge frees one that starves in it.
const NUDGE_IN_BURST: Duration = Duration::from_micros(500);
/// How long after the last new connection a burst is over.
const BURST: Duration = Duration::from_millis(50);
/// Otherwise. Connections that have never sent a byte can starve one another unseen; this bounds their wait.
const NUDGE_AT_REST: Duration = Duration::from_millis(20);

/// Pauses that a nudge waits to be served, added up, after which nobody can be served any more. Pauses are counted and
/// not the time, which also goes by while the process is frozen.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// How often a nudge is watched.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a listener that is to be closed may take to accept what waits.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(1);
/// Nudges before a listener is closed; each takes a fraction of a millisecond.
const LAST_NUDGES: usize = 100;

/// Binds and listens. What is set here is inherited by the accepted sockets, which `tiny_http` keeps to itself.
///
/// # Errors
/// As the system says, [`io::ErrorKind::AddrInUse`] among them.
pub fn listen(
    address: SocketAddr,
    idle_timeout: Duration,
    send_timeout: Duration,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // A reply must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    // A connection holds a thread. One that sends nothing, and one that does not read its reply or is gone without a
    // word, holds it no longer than this. The former ends `accept` as well, and with it the accept loop of tiny_http,
    // were it not for the nudge: with it, no `accept` waits as long.
    socket.set_read_timeout(Some(idle_timeout))?;
    socket.set_write_timeout(Some(send_timeout))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(send_timeout))?;
    socket.set_keepalive(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Opens and drops connections to the own port, on a thread of its own.
///
/// `tiny_http` 0.12 hands an accepted connection to a pool of threads. It queues the connection when it counts an idle
/// thread, but a woken thread is counted idle until it runs. In a burst of connections some are thus queued with nobody
/// left to serve them, until another connection closes (`TaskPool::spawn` in its source). Any further connection sets
/// this right for one of them: it wakes an idle thread or gets a new one, and that thread then takes from the queue.
///
/// The nudge also notices when nobody accepts any more: the accepting thread of `tiny_http` ends without a word when it
/// panics, as it does for want of file descriptors.
pub(super) struct Nudge {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// Tells the nudge of new connections.
#[derive(Clone)]
pub(super) struct BurstSign {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    last_new_connection: Mutex<Option<Instant>>,
    paused: AtomicBool,
    stopped: AtomicBool,
}

impl Nudge {
    /// Starts nudging `listener`. Calls `each_time` with each nudge, and `deaf` if nobody accepts any more: then it is
    /// paused.
    ///
    /// # Errors
    /// If the thread cannot be started, or the listener is not bound.
    pub(super) fn start(
        listener: &Socket,
        each_time: impl Fn() + Send + 'static,
        deaf: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let address = reachable(listener)?;
        let shared = Arc::new(Shared {
            last_new_connection: Mutex::new(None),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("nudge".to_owned())
                .spawn(move || {
                    let mut probe = Probe::default();
                    while !shared.stopped.load(Ordering::Acquire) {
                        let pause = shared.pause();
                        if shared.paused.load(Ordering::Acquire) {
                            probe = Probe::default();
                        // Fails while the server stops, or if the system has no more to give to anybody.
                        } else if let Ok(nudge) =
                            TcpStream::connect_timeout(&address, NUDGE_AT_REST)
                        {
                            probe.look_after(nudge, pause);
                        }
                        each_time();
                        if probe.unserved > DEAF_AFTER && !shared.pause_nudging() {
                            deaf();
                        }
                        std::thread::park_timeout(pause);
                    }
                })?
        };
        Ok(Self { shared, thread })
    }

    /// Nobody is to be nudged. Tells whether that was so already: then `deaf` is or was called.
    #[must_use = "whoever is told twice must know"]
    pub(super) fn pause(&self) -> bool {
        self.shared.pause_nudging()
    }

    /// After [`Nudge::pause`].
    pub(super) fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
    }

    /// What tells this nudge of new connections.
    #[must_use]
    pub(super) fn burst_sign(&self) -> BurstSign {
        BurstSign {
            shared: Arc::clone(&self.shared),
            thread: self.thread.thread().clone(),
        }
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // The thread does not panic; were it so, nothing is left to do about it here.
        let _ = self.thread.join();
    }
}

impl BurstSign {
    /// A connection has sent its first request.
    pub(super) fn new_connection(&self) {
        let now = Instant::now();
        let mut last = self
            .shared
            .last_new_connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let at_rest = last.is_none_or(|last| now.duration_since(last) > BURST);
        *last = Some(now);
        if at_rest {
            self.thread.unpark();
        }
    }
}

impl Shared {
    fn pause_nudging(&self) -> bool {
        self.paused.swap(true, Ordering::AcqRel)
    }

    fn pause(&self) -> Duration {
        let last = *self
            .last_new_connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() <= BURST) {
            NUDGE_IN_BURST
        } else {
            NUDGE_AT_REST
        }
    }
}

/// A nudge that is watched until it is served.
#[derive(Default)]
struct Probe {
    waiting: Option<TcpStream>,
    unserved: Duration,
    since_last: Duration,
}

impl Probe {
    /// Takes one nudge in a while, drops the others, and adds up how long the one has waited.
    fn look_after(&mut self, nudge: TcpStream, pause: Duration) {
        self.since_last += pause;
        if self.waiting.take_if(|probe| is_served(probe)).is_some() {
            self.unserved = Duration::ZERO;
        }
        if self.waiting.is_some() {
            self.unserved += pause;
        } else if self.since_last >= PROBE_INTERVAL {
            self.since_last = Duration::ZERO;
            self.waiting = Some(nudge);
            return;
        }
        // Without this, each would leave a port of this machine in TIME_WAIT for a minute.
        let _ = Socket::from(nudge).set_linger(Some(Duration::ZERO));
    }
}

/// Whether a thread has taken this connection, found it closed on our side, and closed it on its own.
fn is_served(mut probe: &TcpStream) -> bool {
    let _ = probe.shutdown(Shutdown::Write);
    let waits = probe
        .set_nonblocking(true)
        .and_then(|()| probe.read(&mut [0]));
    !matches!(waits, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Refuses new connections from now on. Those that were made before are accepted and served first, if that does not take
/// long: otherwise the kernel would reset them.
///
/// # Errors
/// As the system says.
pub(super) fn close(listener: &Socket) -> io::Result<()> {
    if let Ok(address) = reachable(listener) {
        // Connections are accepted in the order in which they were made, so when the first of these is served, all
        // before it are accepted. Each one frees another that starves, as the nudge does.
        let _all_served = (0..LAST_NUDGES).all(|_| nudge_and_wait(address).is_ok());
    }
    listener.shutdown(Shutdown::Both)
}

fn nudge_and_wait(address: SocketAddr) -> io::Result<()> {
    let mut nudge = TcpStream::connect_timeout(&address, ACCEPT_PATIENCE)?;
    nudge.shutdown(Shutdown::Write)?;
    nudge.set_read_timeout(Some(ACCEPT_PATIENCE))?;
    nudge.read(&mut [0]).map(drop)
}

/// The address by which this machine reaches a listener that may be bound to all addresses.
fn reachable(listener: &Socket) -> io::Result<SocketAddr> {
    let mut address = listener
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::Unsupported)?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok(address)
}
