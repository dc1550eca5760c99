//! The edge: bytes in, a typed request to a [`Service`], an answer out.
//!
//! The only part that names `tiny_http`. Its version 0.12 has faults that matter here; each is worked around where it
//! would bite, and the comment there says which. What is not limited: the number of connections, and the number and length
//! of header lines. On the open internet a reverse proxy belongs in front.
//!
//! One thread receives (another, for a while, each time that connections were too many, see `acceptor.rs`), and never blocks on
//! a caller: it parses what is in memory, and passes on to [`Workers`] what has to be read from a slow connection, or asks the
//! database. Replies are written by other workers.

mod acceptor;
mod access_log;
mod answer;
mod body_drain;
mod desk;
mod exchange;
mod load_shedding;
mod pipeline;
mod request;
mod response_budget;
mod response_queue;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::Socket;

use crate::error::Error;
use crate::incident::Reporter;
use crate::listener::{self, AcceptWatchdog};
use crate::message::{Message, Post};
use crate::metrics::{Endpoint, Metrics};
use crate::workers::Workers;

use acceptor::{AcceptLoop, Acceptor};
use body_drain::Abandoned;
use desk::Desk;
use pipeline::Standing;
use response_queue::ResponseQueue;

pub use answer::Answer;
pub use exchange::{Exchange, answer_all};
pub use request::PageRequest;

/// While it stops, the edge goes on answering until it has heard nothing for this long.
const QUIET: Duration = Duration::from_millis(100);

/// What stands behind the edge.
pub trait Service: Send + Sync + 'static {
    /// Takes a message, without blocking. The exchange is answered later, from any thread.
    fn post(&self, post: Post, exchange: Exchange);

    /// Messages of the history, oldest first. May block on the database.
    fn page(&self, request: PageRequest) -> Result<Vec<Message<'static>>, Error>;

    /// Whether the database takes writes. May block on the database.
    fn ready(&self) -> Result<(), Error>;

    /// Brings the gauges of its metrics up to date. Does not ask the database.
    fn observe(&self) {}
}

/// Limits of the edge.
#[derive(Debug, Clone, Copy)]
pub struct EdgeLimits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Most threads of each of four pools: those that read bodies, that ask the database, that write replies, and that
    /// take the rest of refused bodies off the connection.
    pub workers: usize,
    /// How long a body may take; and from there to the moment from which nobody waits for the message any more.
    pub request_timeout: Duration,
    /// From [`Stopper::stop`] to the moment at which requests under way are given up.
    pub shutdown_timeout: Duration,
}

/// An HTTP server on a bound socket.
pub struct Edge {
    acceptor: Acceptor,
    accept_loop: Arc<AcceptLoop>,
    responses: Arc<ResponseQueue>,
    abandoned: Arc<Abandoned>,
    stopping: Arc<AtomicBool>,
    stop_deadline: Arc<OnceLock<Instant>>,
    limits: EdgeLimits,
    metrics: Arc<Metrics>,
}

/// Stops an [`Edge`] from another thread.
pub struct Stopper {
    stopping: Arc<AtomicBool>,
    /// Set by the first who needs it.
    stop_deadline: Arc<OnceLock<Instant>>,
    shutdown_timeout: Duration,
    listener: Socket,
}

/// How [`Edge::serve`] ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread could not be started.
    #[error("cannot begin to serve: {0}")]
    Start(io::Error),
    /// No more connections can be accepted.
    #[error("cannot accept connections any more: {0}")]
    Deaf(io::Error),
    /// The time to shut down was over before all was answered.
    #[error("{0} requests were still unanswered when the time to shut down was over")]
    Unanswered(usize),
}

impl Edge {
    /// Starts accepting connections on `listener`; [`Edge::serve`] answers them, and shows `metrics`. What the socket
    /// allows for one write, is allowed for a whole reply.
    ///
    /// # Errors
    /// If a thread cannot be started, or the socket is not bound.
    pub fn new(listener: Socket, limits: EdgeLimits, metrics: Arc<Metrics>) -> io::Result<Self> {
        let send_timeout = listener.write_timeout()?.unwrap_or(Duration::MAX);
        let stopping = Arc::default();
        let acceptor = Acceptor::new(listener, Arc::clone(&stopping), Arc::clone(&metrics));
        let abandoned = Arc::new(Abandoned::new(acceptor.ends()));
        let responses = ResponseQueue::new(
            limits.workers,
            send_timeout,
            Arc::clone(&abandoned),
            Arc::clone(&metrics),
        );
        Ok(Self {
            accept_loop: acceptor.open()?,
            acceptor,
            responses: Arc::new(responses),
            abandoned,
            stopping,
            stop_deadline: Arc::default(),
            limits,
            metrics,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.acceptor
            .listener()
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// What stops it.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn stopper(&self) -> io::Result<Stopper> {
        Ok(Stopper {
            stopping: Arc::clone(&self.stopping),
            stop_deadline: Arc::clone(&self.stop_deadline),
            shutdown_timeout: self.limits.shutdown_timeout,
            listener: self.acceptor.listener().try_clone()?,
        })
    }

    /// Answers requests until it is stopped, and then all that it has taken.
    ///
    /// # Errors
    /// [`ServeError`]
    pub fn serve<S: Service>(self, service: Arc<S>) -> Result<(), ServeError> {
        let desk = Arc::new(Desk::new(
            service,
            self.limits,
            Arc::clone(&self.stopping),
            Arc::clone(&self.abandoned),
            Arc::clone(&self.metrics),
        ));
        let pool = |name, handle: fn(&Desk<S>, Exchange)| {
            let desk = Arc::clone(&desk);
            let handle = move |exchange| handle(&desk, exchange);
            Arc::new(Workers::new(name, self.limits.workers, handle))
        };
        let readers = pool("reader", Desk::wait_and_handle);
        let askers = pool("asker", Desk::handle_at_once);
        let clerk = {
            let desk = Arc::clone(&desk);
            Workers::new("clerk", 1, move |exchange| desk.handle_at_once(exchange))
        };
        self.responses.start_relief().map_err(ServeError::Start)?;
        let watchdog = self.acceptor.start_watchdog().map_err(ServeError::Start)?;
        let reception = Reception {
            desk,
            readers,
            askers,
            clerk,
            responses: Arc::clone(&self.responses),
            given_up: Reporter::default(),
            heard: AtomicBool::new(false),
        };

        let (served, finished) = self.receive(&reception, &watchdog);
        watchdog.stop();
        if self.responses.unanswered() == 0 {
            // So the threads are idle. Otherwise one may hang on its caller for long.
            reception.readers.join();
            reception.askers.join();
            reception.clerk.join();
            self.responses.join();
        }
        served.and(finished)
    }

    /// How receiving ended, and then whether all that was taken is answered.
    fn receive<S: Service>(
        &self,
        reception: &Reception<S>,
        watchdog: &AcceptWatchdog,
    ) -> (Result<(), ServeError>, Result<(), ServeError>) {
        let over = AtomicBool::new(false);
        let accept_loops = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let served = self.keep_accepting(watchdog, |accept_loop| {
                accept_loops.lock().push(Arc::downgrade(&accept_loop));
                let over = &over;
                std::thread::Builder::new()
                    .name("receiver".to_owned())
                    .spawn_scoped(scope, move || {
                        accept_loop.receive(over, |request| reception.receive(request));
                    })
                    .map(drop)
            });
            self.stopping.store(true, Ordering::Release);
            let finished = self.finish(reception);
            over.store(true, Ordering::Release);
            for accept_loop in accept_loops.lock().iter().filter_map(Weak::upgrade) {
                accept_loop.wake();
            }
            (served, finished)
        })
    }

    /// Until it is stopped, with as many accept loops as it takes, one after the other; `serve` starts a thread for each.
    fn keep_accepting(
        &self,
        watchdog: &AcceptWatchdog,
        serve: impl Fn(Arc<AcceptLoop>) -> io::Result<()>,
    ) -> Result<(), ServeError> {
        let mut accept_loop = Arc::clone(&self.accept_loop);
        serve(Arc::clone(&accept_loop)).map_err(ServeError::Start)?;
        loop {
            let cause = self.acceptor.wait_for_end(&accept_loop, watchdog);
            if self.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            if self.abandoned.are_too_many() {
                return Err(ServeError::Deaf(cause));
            }
            match self.acceptor.reopen(&cause, watchdog, &serve) {
                Ok(Some(next)) => accept_loop = next,
                Ok(None) => return Ok(()),
                Err(error) => return Err(ServeError::Deaf(error)),
            }
        }
    }

    /// Waits until what was taken is answered, and what still comes on open connections is refused.
    fn finish<S: Service>(&self, reception: &Reception<S>) -> Result<(), ServeError> {
        let deadline = *self
            .stop_deadline
            .get_or_init(|| Instant::now() + self.limits.shutdown_timeout);
        while Instant::now() < deadline {
            reception.heard.store(false, Ordering::Release);
            std::thread::sleep(QUIET);
            if !reception.heard.load(Ordering::Acquire) && reception.unanswered() == 0 {
                return Ok(());
            }
        }
        match reception.unanswered() {
            0 => Ok(()),
            left => Err(ServeError::Unanswered(left)),
        }
    }
}

impl Stopper {
    /// New connections are refused from now on, requests on open ones get 503, and [`Edge::serve`] returns when all
    /// that was taken is answered.
    pub fn stop(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        let deadline = *self
            .stop_deadline
            .get_or_init(|| Instant::now() + self.shutdown_timeout);
        // Ends tiny_http's accept loop, which wakes the receiver. Its own `unblock` would leave the port open.
        if let Err(error) = listener::close(&self.listener, deadline) {
            tracing::warn!(%error, "cannot close the listening socket");
        }
    }
}

/// What each receiver hands its requests to. All requests of a connection come through one accept loop and one receiver,
/// so their slots are drawn in the order of their arrival.
struct Reception<S> {
    desk: Arc<Desk<S>>,
    /// For bodies that are still on their way.
    readers: Arc<Workers<Exchange>>,
    /// For what asks the database: apart, so that slow callers do not hold it up.
    askers: Arc<Workers<Exchange>>,
    /// For metrics, whose files of the system take a while: apart, so that they are shown whatever holds up the others.
    clerk: Workers<Exchange>,
    responses: Arc<ResponseQueue>,
    /// Of connections on which nothing more is served.
    given_up: Reporter,
    /// Set with each request.
    heard: AtomicBool,
}

impl<S: Service> Reception<S> {
    fn receive(&self, request: tiny_http::Request) {
        self.heard.store(true, Ordering::Relaxed);
        let Some((mut exchange, standing)) = Exchange::open(request, &self.responses) else {
            return;
        };
        match standing {
            Standing::Open => {}
            Standing::GivenUp => {
                exchange.give_up_connection();
                let error = self.refuse_given_up(&exchange);
                return exchange.refuse(error);
            }
        }
        if let Err(error) = exchange.check_framing() {
            // At once: what looks like the next request on this connection may have come already.
            exchange.give_up_connection();
            return exchange.refuse(error);
        }
        let endpoint = exchange.endpoint();
        if endpoint == Endpoint::Metrics {
            self.observe();
        }
        if !exchange.needs_no_waiting(self.desk.limits.body) {
            exchange.wait_for_body(&self.desk.being_read);
            return self.readers.submit(exchange);
        }
        match endpoint {
            Endpoint::Page | Endpoint::Ready => {
                let askers = Arc::clone(&self.askers);
                exchange.in_turn(move |exchange| askers.submit(exchange));
            }
            Endpoint::Metrics => self.clerk.submit(exchange),
            Endpoint::PostMessage | Endpoint::Health | Endpoint::Other => {
                let handle = AssertUnwindSafe(|| self.desk.handle_at_once(exchange));
                if catch_unwind(handle).is_err() {
                    // An exchange that is dropped by a panic answers 500 by itself.
                    tracing::error!("a request panicked; the server goes on");
                }
            }
        }
    }

    fn refuse_given_up(&self, exchange: &Exchange) -> Error {
        let peer = exchange.connection();
        Error::ConnectionGivenUp(self.given_up.report(|incident| {
            tracing::warn!(
                instance = %incident, %peer,
                "refusing what follows on a connection: a request had no clear end, or too many were sent ahead"
            );
        }))
    }

    /// Brings the gauges up to date.
    fn observe(&self) {
        let metrics = &self.desk.metrics.edge;
        self.responses.observe(metrics);
        for pool in [&*self.readers, &self.askers, &self.clerk] {
            pool.observe(metrics);
        }
    }

    /// Requests that were taken and are not answered yet. Those whose bodies are still on their way are not taken.
    fn unanswered(&self) -> usize {
        let being_read = self.desk.being_read.load(Ordering::Acquire);
        self.responses.unanswered().saturating_sub(being_read)
    }
}
