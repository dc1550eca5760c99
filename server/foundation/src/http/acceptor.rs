//! Accepts connections. While there is no room for more, new ones are answered with 503.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use socket2::Socket;
use tiny_http::{Request, Server};

use super::body_drain::max_abandoned;
use super::metrics::EdgeMetrics;
use super::problem::Problem;
use super::response::{CLOSE, Response};
use super::{ServeError, descriptors, listener, sockets};
use crate::telemetry::Incident;
use crate::thread_pool;

/// How often a receiver without requests checks whether it is still needed: seldom, so that an idle server is idle, but more
/// often when its accept loop has ended, because then the server may be stopping.
const TICK: Duration = Duration::from_secs(1);
const TICK_AT_THE_END: Duration = Duration::from_millis(100);
/// How often a receiver without requests yields to other threads before it sleeps.
const LOOKS_BEFORE_SLEEP: usize = 2;
/// How often it is checked whether there is room again. Each time that there is, another receiver runs for a while, see
/// [`AcceptLoop::receive`].
const ROOM_INTERVAL: Duration = Duration::from_secs(1);
/// How long there may be no room because of connections that their clients have closed. Then the process ends itself.
const MAX_TIME_WITHOUT_ROOM: Duration = Duration::from_secs(15);
/// How often clients that are refused are attended to.
const REFUSAL_INTERVAL: Duration = Duration::from_millis(5);
/// Most clients that are refused at once. More wait in the kernel's backlog.
const MAX_REFUSED: usize = 32;
/// How long a client may take to send a request and to read the refusal. With more, silent clients would hold up others for
/// long.
const REFUSED_TIMEOUT: Duration = Duration::from_millis(200);
/// Threads that the system must grant before connections are accepted again. `tiny_http` starts five at once, and panics if it
/// gets none.
const ROOM_FOR_THREADS: usize = 16;

/// Opens accept loops, one after the other. `tiny_http` stops accepting after any error, most often for lack of file descriptors
/// or threads. Its connections go on, and another `Server` on the same socket accepts further ones.
pub(super) struct Acceptor {
    pub(super) listener: Socket,
    /// When the time to shut down is over; set when the server begins to stop.
    pub(super) stop_deadline: OnceLock<Instant>,
    pub(super) metrics: Arc<EdgeMetrics>,
}

/// One accept loop of `tiny_http`, and its connections.
pub(super) struct AcceptLoop {
    server: Server,
    /// The descriptor from which its thread accepts. It is closed when the thread ends, also by a panic.
    descriptor: RawFd,
    /// Why it has ended.
    end: OnceLock<io::Error>,
    /// A connection that sends nothing for this long is closed.
    idle_timeout: Duration,
}

/// Starts a thread that calls [`AcceptLoop::receive`].
type Serve<'a> = &'a dyn Fn(Arc<AcceptLoop>) -> io::Result<()>;

impl Acceptor {
    /// Accepts connections until the server stops, by one accept loop after the other.
    pub(super) fn keep_accepting(&self, serve: Serve<'_>) -> Result<(), ServeError> {
        let mut accept_loop = self.open(serve).map_err(ServeError::Start)?;
        while let Some(next) = self.replace(&accept_loop, serve)? {
            accept_loop = next;
        }
        Ok(())
    }

    /// Stops accepting, from any thread; accepted requests have until `deadline`.
    pub(super) fn stop(&self, deadline: Instant) {
        if self.stop_deadline.set(deadline).is_err() {
            return;
        }
        // This ends tiny_http's accept loop, which wakes the receiver. tiny_http's own `unblock` would leave the port open.
        if let Err(error) = listener::close(&self.listener, deadline) {
            tracing::warn!(%error, "cannot close the listening socket");
        }
    }

    fn open(&self, serve: Serve<'_>) -> io::Result<Arc<AcceptLoop>> {
        let accepting: TcpListener = self.listener.try_clone()?.into();
        let descriptor = accepting.as_raw_fd();
        let server = catch_unwind(AssertUnwindSafe(|| Server::from_listener(accepting, None)))
            .map_err(|_panic| io::Error::other("the system gives no more threads"))?
            .map_err(io::Error::other)?;
        let accept_loop = Arc::new(AcceptLoop {
            server,
            descriptor,
            end: OnceLock::new(),
            idle_timeout: self.listener.read_timeout()?.unwrap_or(Duration::MAX),
        });
        serve(Arc::clone(&accept_loop))?;
        Ok(accept_loop)
    }

    /// Waits until `accept_loop` ends. Then refuses clients until there is room, and opens another. None if the server stops.
    fn replace(
        &self,
        accept_loop: &AcceptLoop,
        serve: Serve<'_>,
    ) -> io::Result<Option<Arc<AcceptLoop>>> {
        self.wait_for_end(accept_loop)?;
        if self.stop_deadline.get().is_some() {
            return Ok(None);
        }
        let incident = Incident::draw();
        tracing::error!(
            instance = %incident,
            cause = %accept_loop.end(),
            descriptors_open = descriptors::open(),
            descriptors_limit = descriptors::most(),
            "no room for more connections: new ones get 503, those that are open are served"
        );
        loop {
            self.refuse_until_room(incident)?;
            if self.stop_deadline.get().is_some() {
                return Ok(None);
            }
            // If this fails, there was not enough room after all.
            if let Ok(accept_loop) = self.open(serve) {
                tracing::info!(instance = %incident, "there is room: taking connections again");
                return Ok(Some(accept_loop));
            }
        }
    }

    fn wait_for_end(&self, accept_loop: &AcceptLoop) -> io::Result<()> {
        let address = listener::address(&self.listener)?;
        let must_end = || self.metrics.connections_abandoned.get() >= max_abandoned();
        let is_open = || sockets::is_listener(accept_loop.descriptor, address);
        listener::nudge_while(&self.listener, || is_open() && !must_end())?;
        if must_end() && self.stop_deadline.get().is_none() {
            return Err(io::Error::other("too many connections had to be abandoned"));
        }
        Ok(())
    }

    fn refuse_until_room(&self, incident: Incident) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        descriptors::release_reserved();
        let mut refused = Vec::new();
        let since = Instant::now();
        let mut last_look = since;
        while self.stop_deadline.get().is_none() {
            self.refuse_clients(&mut refused, incident);
            std::thread::sleep(REFUSAL_INTERVAL);
            if last_look.elapsed() < ROOM_INTERVAL {
                continue;
            }
            last_look = Instant::now();
            if descriptors::has_room() && thread_pool::can_start(ROOM_FOR_THREADS) {
                break;
            }
            // Before, clients may have closed connections while their replies were on the way.
            if since.elapsed() >= MAX_TIME_WITHOUT_ROOM
                && descriptors::are_held_by_closed_connections(
                    listener::address(&self.listener)?.port(),
                )
            {
                return Err(io::Error::other(
                    "connections that ended are not given back",
                ));
            }
        }
        descriptors::claim();
        self.listener.set_nonblocking(false)
    }

    /// Accepts what waits, and answers each client with 503, without blocking. `refused` keeps those that are not done with, and
    /// when they were accepted.
    fn refuse_clients(&self, refused: &mut Vec<(Socket, Instant)>, incident: Incident) {
        let refusal = Response::from(no_room().with_incident(incident));
        let refusal = refusal.render(false, CLOSE);
        refused.retain(|(client, since)| {
            refuse(client, &refusal) && since.elapsed() < REFUSED_TIMEOUT
        });
        while refused.len() < MAX_REFUSED {
            // No client waits, the system has no descriptor left, or the server stops.
            let Ok((client, _)) = self.listener.accept() else {
                break;
            };
            self.metrics.turned_away.inc();
            if client.set_nonblocking(true).is_ok() {
                refused.push((client, Instant::now()));
            }
        }
    }
}

/// The answer if there is no room for a connection.
pub(super) fn no_room() -> Problem {
    Problem::new(
        503,
        "This server has no room for another connection. This attempt stored nothing; try another replica, or again later.",
    )
}

/// Makes progress, and returns false when the client is done with. It is answered once it has sent something, because an answer
/// before a request confuses clients; then the request is read, because the kernel discards the answer if it stays unread.
fn refuse(mut client: &Socket, refusal: &[u8]) -> bool {
    match client.read(&mut [0; 16 << 10]) {
        Ok(0) => false,
        Ok(_) => {
            // Fails if it is answered already.
            let answered = client.write_all(refusal);
            let _ = answered.and_then(|()| client.shutdown(Shutdown::Write));
            true
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

impl AcceptLoop {
    /// Passes on the requests of its connections, in the order in which they came. Returns when `over` is set, or when the accept
    /// loop has ended and its connections have been silent for long.
    pub(super) fn receive(&self, over: &AtomicBool, hand_over: impl Fn(Request)) {
        let mut silence = Duration::ZERO;
        while !over.load(Ordering::Acquire) {
            let tick = self.end.get().map_or(TICK, |_| TICK_AT_THE_END);
            match self.next_request(tick) {
                Ok(Some(request)) => {
                    silence = Duration::ZERO;
                    // An exchange that is dropped by a panic answers 500.
                    if catch_unwind(AssertUnwindSafe(|| hand_over(request))).is_err() {
                        tracing::error!("a request panicked; the server goes on");
                    }
                }
                Ok(None) => {
                    silence += tick;
                    if self.end.get().is_some() && silence > 2 * self.idle_timeout {
                        return;
                    }
                }
                // tiny_http reports the end of its accept loop once, unless that panicked.
                Err(error) => {
                    let _ = self.end.set(error);
                }
            }
        }
    }

    /// Why it has ended, when it has.
    fn end(&self) -> &io::Error {
        // The receiver may still have requests before the report.
        let deadline = Instant::now() + TICK_AT_THE_END;
        while self.end.get().is_none() && Instant::now() < deadline {
            std::thread::sleep(REFUSAL_INTERVAL);
        }
        self.end
            .get_or_init(|| io::Error::other("the thread that accepts has ended"))
    }

    /// Yields to other threads before it sleeps: under load one of them brings a request meanwhile, and the wake-up, which costs
    /// more than the request, is saved.
    fn next_request(&self, tick: Duration) -> io::Result<Option<Request>> {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if let Some(request) = self.server.try_recv()? {
                return Ok(Some(request));
            }
            std::thread::yield_now();
        }
        self.server.recv_timeout(tick)
    }
}
