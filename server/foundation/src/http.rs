//! The edge: reads requests, has a [`Service`] answer them, writes the responses.
//!
//! Only this module names `tiny_http`. Version 0.12 has faults that matter here; each is worked around in one place, where a
//! comment says which. The number of connections, and the number and length of header lines are not limited: on the open
//! internet, put a reverse proxy in front.
//!
//! One thread receives all requests (and for a while another, after there were too many connections: see `acceptor.rs`). It
//! never blocks on a client: requests whose bodies are still on their way, and those that ask the database, are passed to a
//! [`ThreadPool`]. Other threads write the responses.

mod acceptor;
mod dispatcher;
mod router;
mod pipeline;
mod exchange;
mod request;
mod fields;
mod upgrade;
mod response;
mod problem;
mod response_queue;
mod body_drain;
mod listener;
mod sockets;
mod descriptors;
mod metrics;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::telemetry::Registry;
use crate::thread_pool::ThreadPool;
use crate::values::{at_least_one, duration};
use acceptor::Acceptor;
use metrics::EdgeMetrics;
use response_queue::ResponseQueue;
use router::{Router, Target};
use sockets::Shutdown;

pub(crate) use descriptors::claim as claim_descriptors;
pub use exchange::{Exchange, answer_all};
pub use fields::parse_object;
pub use problem::Problem;
pub use response::{Part, Response};
pub use router::{Endpoint, Handler};
pub use upgrade::Upgraded;

/// A stop is over when no request has come for this long.
const QUIET: Duration = Duration::from_millis(100);

/// What the edge serves: a line for each endpoint, with the function that answers it.
///
/// Each server also answers `/healthz`, `/readyz`, `/metrics` and `/openapi.json`.
pub trait Service: Send + Sync + Sized + 'static {
    /// All endpoints. A new one goes here.
    const ENDPOINTS: &'static [Endpoint<Self>];

    /// The contract as `OpenAPI` 3.1, in JSON, for `/openapi.json`.
    #[must_use]
    fn contract() -> Option<&'static str> {
        None
    }

    /// Whether the service can do its work, asked for `/readyz`. May block on the database until `deadline`.
    ///
    /// # Errors
    /// Why it cannot, with status 503.
    fn ready(&self, deadline: Instant) -> Result<(), Problem>;

    /// Brings the gauges of its metrics up to date, before they are shown. Does not ask the database.
    fn observe(&self) {}

    /// Called once when the server begins to stop, to end requests that are held for long, and to take in no more work. Must not
    /// block.
    fn stopping(&self) {}

    /// Called when all accepted requests are answered, to end background work before `deadline`, when the time to shut down is
    /// over.
    fn finish(self, _deadline: Instant) {}
}

/// Options of the edge.
#[derive(Debug, Clone, Copy, Parser)]
#[command(about = None)]
pub struct HttpArgs {
    /// Address to listen on. Anything but loopback opens the server to the network
    #[arg(
        long,
        env = "LISTEN",
        default_value = "127.0.0.1:8001",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

    /// Most threads of each of four kinds: for reading long bodies, for asking the database, for writing responses, and for
    /// the rest of bodies that were refused. They are started as they are needed
    #[arg(long, default_value_t = 256, value_parser = at_least_one, value_name = "COUNT")]
    pub workers: usize,

    /// Largest body of a request; more is refused with 413
    #[arg(long, default_value_t = 64 << 10, value_parser = at_least_one, value_name = "BYTES")]
    pub body_limit: usize,

    /// How long a request may take before its client is told 503 (not done) or 504 (not known)
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub request_timeout: Duration,

    /// How long to finish what was taken, after SIGTERM or SIGINT
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub shutdown_timeout: Duration,

    /// How long a connection may be silent, between requests or within one, before it is closed
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,

    /// How long a client may take to accept a response as a whole before its connection is dropped
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub send_timeout: Duration,
}

/// An HTTP server on a bound socket.
pub(crate) struct Edge<S: Service> {
    service: S,
    router: Router<S>,
    /// Waits for bodies that are still on their way.
    body_pool: ThreadPool<Job<S>>,
    /// Runs blocking handlers: a pool of its own, so that slow clients do not hold them up.
    query_pool: ThreadPool<Job<S>>,
    /// Renders the metrics, which reads files: a pool of its own, so that they are shown whatever holds up the others.
    metrics_pool: ThreadPool<Job<S>>,
    /// Checks whether the service is ready: a pool of its own, so that handlers that wait for the database do not hold it up. One
    /// thread is enough, because each check has a deadline from its arrival on.
    readiness_pool: ThreadPool<Job<S>>,
    responses: Arc<ResponseQueue>,
    /// The bytes of responses of blocking handlers that clients have not read.
    unread: Arc<AtomicUsize>,
    acceptor: Arc<Acceptor>,
    /// Set by each request, see [`Self::received_any`].
    received_any: AtomicBool,
    /// Each request whose body is still on its way holds a clone.
    being_read: Arc<()>,
    registry: Registry,
}

/// A request that waits for a thread, and where it goes.
type Job<S> = (Arc<Edge<S>>, Target<S>, Exchange);

/// How [`Edge::serve`] ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot begin to serve: {0}")]
    Start(io::Error),
    #[error("cannot accept connections any more: {0}")]
    Accept(#[from] io::Error),
    #[error("{0} requests were still unanswered when the time to shut down was over")]
    Unanswered(usize),
}

impl<S: Service> Edge<S> {
    /// Begins to listen. [`Edge::serve`] has `service` answer the requests, and shows the metrics of `registry`.
    ///
    /// # Errors
    /// As the system says, [`io::ErrorKind::AddrInUse`] among them.
    pub(crate) fn listen(
        options: HttpArgs,
        registry: Registry,
        service: S,
    ) -> io::Result<Arc<Self>> {
        let metrics = Arc::new(EdgeMetrics::new(&registry, router::labels(S::ENDPOINTS)));
        let acceptor = Acceptor {
            listener: listener::listen(&options)?,
            stop_deadline: OnceLock::new(),
            metrics: Arc::clone(&metrics),
        };
        let handle = |(this, target, exchange): Job<S>| this.handle(target, exchange);
        let wait = |(this, target, exchange): Job<S>| this.wait_for_body(target, exchange);
        Ok(Arc::new(Self {
            service,
            router: Router::new(S::ENDPOINTS),
            body_pool: ThreadPool::new("body", options.workers, wait),
            query_pool: ThreadPool::new("query", options.workers, handle),
            metrics_pool: ThreadPool::new("metrics", 1, handle),
            readiness_pool: ThreadPool::new("readiness", 1, handle),
            responses: ResponseQueue::new(options, metrics, registry.program().name),
            unread: Arc::default(),
            acceptor: Arc::new(acceptor),
            received_any: AtomicBool::new(false),
            being_read: Arc::default(),
            registry,
        }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        listener::address(&self.acceptor.listener)
    }

    /// A function that stops it, from any thread: from then on new connections are refused and requests on open ones get 503, and
    /// [`Edge::serve`] returns when all accepted requests are answered.
    pub(crate) fn stopper(&self) -> impl Fn() + Send + use<S> {
        let acceptor = Arc::clone(&self.acceptor);
        let shutdown_timeout = self.responses.options.shutdown_timeout;
        move || acceptor.stop(Instant::now() + shutdown_timeout)
    }

    /// Answers requests until it is stopped, then those that it has accepted, and lets the service finish.
    pub(crate) fn serve(self: Arc<Self>) -> Result<(), ServeError> {
        let responses = Arc::clone(&self.responses);
        // So that responses do not wait for a client that does not read.
        std::thread::Builder::new()
            .name("relief".to_owned())
            .spawn(move || responses.repliers.keep_relieved())
            .map_err(ServeError::Start)?;
        let deadline = self.receive_until_stopped()?;
        // Otherwise a thread hangs. All accepted requests are answered in any case.
        if self.responses.pipelines.open() == 0 {
            self.pools().into_iter().for_each(ThreadPool::join);
            self.responses.repliers.join();
            if let Some(edge) = Arc::into_inner(self) {
                edge.service.finish(deadline);
            }
        }
        Ok(())
    }

    /// Receives requests until it is stopped and all accepted requests are answered. Returns the deadline of the stop.
    fn receive_until_stopped(self: &Arc<Self>) -> Result<Instant, ServeError> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let served = self.acceptor.keep_accepting(&|accept_loop| {
                let over = &over;
                std::thread::Builder::new()
                    .name("receiver".to_owned())
                    .spawn_scoped(scope, move || {
                        accept_loop.receive(over, |request| self.receive(request));
                    })
                    .map(drop)
            });
            // Set already, unless it stops by itself.
            let deadline = || Instant::now() + self.responses.options.shutdown_timeout;
            let deadline = *self.acceptor.stop_deadline.get_or_init(deadline);
            self.service.stopping();
            let finished = self.finish(deadline);
            over.store(true, Ordering::Release);
            served.and(finished).map(|()| deadline)
        })
    }

    /// Waits until accepted requests are answered; those that still come on open connections are refused meanwhile.
    fn finish(&self, deadline: Instant) -> Result<(), ServeError> {
        let mut all_answered = false;
        let _before = self.received_any();
        while Instant::now() < deadline {
            std::thread::sleep(QUIET);
            if self.received_any() || self.unanswered() > 0 {
                continue;
            }
            all_answered = true;
            // Bodies of these are still on their way. The threads that wait for them end with the connections. None of them can
            // be a newer connection of the same peer, because no more are accepted.
            let too_late = self.responses.pipelines.connections();
            if too_late.is_empty() {
                break;
            }
            let in_time = too_late
                .into_iter()
                .take_while(|_| Instant::now() < deadline);
            in_time.for_each(|connection| sockets::shut_down(connection, Shutdown::Both));
        }
        match self.unanswered() {
            // Those whose connections were shut down were not accepted.
            left if left > 0 && !all_answered => Err(ServeError::Unanswered(left)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use clap::Parser;

    use super::*;
    use crate::telemetry::Program;

    /// Sends a message when it finishes.
    struct Finishing(Sender<()>);

    impl Service for Finishing {
        const ENDPOINTS: &'static [Endpoint<Self>] = &[Endpoint::post(
            "/x",
            Handler::Inline(|_, exchange| exchange.answer(Response::json(&"taken"))),
        )];

        fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
            Ok(())
        }

        fn finish(self, _deadline: Instant) {
            self.0.send(()).expect("the test waits");
        }
    }

    #[test]
    fn a_service_finishes_although_a_body_never_arrives() {
        let options = HttpArgs::parse_from(["test", "--listen", "127.0.0.1:0"]);
        let registry = Registry::new(Program::new("test", ""));
        let (sender, finished) = channel();
        let edge = Edge::listen(options, registry, Finishing(sender)).expect("a port is free");
        let address = edge.address().expect("it is bound");
        let stop = edge.stopper();
        let server = thread::spawn(move || edge.serve());

        let mut slow = TcpStream::connect(address).expect("it listens");
        let head =
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n";
        slow.write_all(head).expect("it is read");
        // Now the server waits for the body.
        slow.read_exact(&mut [0; 12]).expect("it is asked to go on");
        let begun = Instant::now();
        stop();
        server
            .join()
            .expect("it does not panic")
            .expect("all is answered");
        assert!(finished.try_recv().is_ok(), "it did not finish");
        assert!(begun.elapsed() < options.shutdown_timeout / 2);
    }
}
