//! Passes each request to its handler: at once if that does not block, else on a pool of threads.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::acceptor::no_room;
use super::body_drain::max_abandoned;
use super::exchange::Exchange;
use super::pipeline::{ConnectionStatus, Delivery};
use super::problem::Problem;
use super::request;
use super::response::{JSON, Response};
use super::response_queue::{Afterwards, InFlight, ResponseQueue};
use super::router::{Handler, Target};
use super::{Edge, Job, Service};
use crate::telemetry::{Incident, Program, Reporter, TEXT_FORMAT, size};
use crate::thread_pool::ThreadPool;

/// How long `/readyz` may take: probes do not wait for long, and count no answer as a failure.
const READY_TIMEOUT: Duration = Duration::from_millis(1500);

/// Most bytes of responses of blocking handlers that clients have not read yet. A page may be a hundred messages long and is
/// quickly asked for: a client that asks for many and reads none would fill the memory. Other responses are small.
const MAX_UNREAD_BYTES: usize = 64 << 20;

/// Passes requests from the receivers to their handlers. All requests of a connection come from one receiver, so they take their
/// turns in the order of arrival.
impl<S: Service> Edge<S> {
    /// Accepts a request, without blocking: begins it now, or when all before it on its connection are answered.
    pub(super) fn receive(self: &Arc<Self>, request: tiny_http::Request) {
        self.received_any.store(true, Ordering::Relaxed);
        // On TCP there always is one.
        let nobody = (Ipv4Addr::UNSPECIFIED, 0).into();
        let connection = request.remote_addr().copied().unwrap_or(nobody);
        let pipelines = &self.responses.pipelines;
        let arrived = Instant::now();
        let Some(status) = pipelines.enter(connection, arrived) else {
            return self.responses.ignore(request, connection);
        };
        let (target, label, parameters) =
            self.router.route(request.method().as_str(), request.url());
        let open = InFlight {
            request,
            connection,
            arrived,
            received: arrived,
            label,
            parameters,
            body: Cell::new(Ok(Vec::new())),
            being_read: None,
            afterwards: Afterwards::default(),
            resource: None,
            responses: Arc::clone(&self.responses),
        };
        let mut exchange = Exchange {
            open: Some(Box::new(open)),
        };
        let refusal = match status {
            ConnectionStatus::Open => request::check_framing(exchange.request()).err(),
            ConnectionStatus::GivenUp => Some(connection_given_up(connection)),
        };
        if refusal.is_some() {
            // Now, because what looks like the next request on this connection may have come already.
            exchange.end_connection();
        }
        let edge = Arc::clone(self);
        pipelines.in_turn(connection, move |before| match refusal {
            Some(problem) => exchange.answer(problem),
            None => edge.begin(target, exchange, before),
        });
    }

    fn begin(self: &Arc<Self>, target: Target<S>, mut exchange: Exchange, before: Delivery) {
        // Most likely nobody would receive the response.
        if before == Delivery::Lost && target.blocks() {
            let problem = connection_given_up(exchange.connection());
            return exchange.refuse(problem);
        }
        let body_limit = self.responses.options.body_limit;
        if request::needs_no_waiting(exchange.request(), body_limit) {
            // Always: an unread body would be taken for the next request.
            exchange.read_body(body_limit);
            self.dispatch(target, exchange);
        } else {
            exchange.wait_for_body(&self.being_read);
            self.body_pool.submit((Arc::clone(self), target, exchange));
        }
    }

    /// Passes on a request whose body is read.
    fn dispatch(self: &Arc<Self>, target: Target<S>, exchange: Exchange) {
        let pool = match target {
            Target::Ready => &self.readiness_pool,
            Target::Metrics => &self.metrics_pool,
            _ if target.blocks() => &self.query_pool,
            _ => return self.handle(target, exchange),
        };
        pool.submit((Arc::clone(self), target, exchange));
    }

    pub(super) fn pools(&self) -> [&ThreadPool<Job<S>>; 4] {
        [
            &self.body_pool,
            &self.query_pool,
            &self.metrics_pool,
            &self.readiness_pool,
        ]
    }

    /// Brings the gauges up to date.
    fn observe(&self) {
        self.service.observe();
        let ResponseQueue {
            pipelines, metrics, ..
        } = &*self.responses;
        metrics.requests_open.set(size(pipelines.open()));
        let waiting = pipelines.connections().len();
        metrics.connections_waiting.set(size(waiting));
        for pool in self.pools() {
            metrics.set_workers(pool.state());
        }
        metrics.set_workers(self.responses.repliers.state());
        metrics.set_workers(self.responses.drain.state());
    }

    /// Whether requests came since the last call.
    pub(super) fn received_any(&self) -> bool {
        self.received_any.swap(false, Ordering::AcqRel)
    }

    /// Accepted requests that are not answered yet. Those whose bodies are still on their way do not count as accepted.
    pub(super) fn unanswered(&self) -> usize {
        let being_read = Arc::strong_count(&self.being_read) - 1;
        self.responses.pipelines.open().saturating_sub(being_read)
    }

    /// Reads a body that is still on its way, and passes the request on. Until then it does not count as accepted.
    pub(super) fn wait_for_body(self: &Arc<Self>, target: Target<S>, mut exchange: Exchange) {
        if exchange.deadline() <= Instant::now() {
            static REPORTER: Reporter = Reporter::new();
            let incident = REPORTER.report(|incident| {
                tracing::warn!(
                    instance = %incident,
                    "refusing bodies: their time was over before a worker was free, or their turn had come"
                );
            });
            return exchange.refuse(busy(incident));
        }
        exchange.read_body(self.responses.options.body_limit);
        self.dispatch(target, exchange);
    }

    pub(super) fn handle(&self, target: Target<S>, mut exchange: Exchange) {
        let stopping = self.acceptor.stop_deadline.get().is_some();
        if stopping {
            exchange.close_after();
        }
        match target {
            Target::Ready if stopping => exchange.answer(shutting_down()),
            Target::Service(endpoint) => match endpoint.handler {
                Handler::Inline(_) if stopping => exchange.answer(shutting_down()),
                Handler::Inline(handle) => handle(&self.service, exchange),
                Handler::Blocking(_) if stopping && endpoint.writes() => {
                    exchange.answer(shutting_down());
                }
                Handler::Blocking(handle) => {
                    let room = check_room(&self.unread);
                    let response = room.and_then(|()| handle(&self.service, &exchange));
                    exchange.answer(Response::from(response).held_by(&self.unread));
                }
            },
            Target::Ready => {
                let deadline = exchange.received() + READY_TIMEOUT;
                let ready = self.service.ready(deadline.min(exchange.deadline()));
                exchange.answer(ready.map(|()| Response::json(&json!({ "status": "ready" }))));
            }
            Target::Health => exchange.answer(self.health()),
            Target::Metrics => {
                self.observe();
                exchange.answer(Response::bytes(TEXT_FORMAT, self.registry.render()));
            }
            Target::Refused(problem) => exchange.answer(problem),
            Target::Contract => {
                let nothing = || Problem::new(404, "There is no contract here.");
                let contract = S::contract().ok_or_else(nothing);
                exchange.answer(contract.map(|json| Response::bytes(JSON, json.as_bytes())));
            }
        }
    }

    fn health(&self) -> Result<Response, Problem> {
        if self.responses.metrics.connections_abandoned.get() >= max_abandoned() / 2 {
            static REPORTER: Reporter = Reporter::new();
            let incident = REPORTER.report(|incident| {
                tracing::error!(instance = %incident, "many connections had to be abandoned: the server needs a restart");
            });
            return Err(no_room().with_incident(incident));
        }
        let Program { version, build, .. } = self.registry.program();
        let health = json!({ "status": "up", "version": version, "build": build });
        Ok(Response::json(&health))
    }
}

/// Refuses a request on a connection on which nothing more is served.
fn connection_given_up(peer: SocketAddr) -> Problem {
    static REPORTER: Reporter = Reporter::new();
    let incident = REPORTER.report(|incident| {
        tracing::warn!(
            instance = %incident, %peer,
            "refusing what follows on a connection: a request had no clear end, or a body that was refused, too many were \
             sent ahead, or an answer before them could not be delivered"
        );
    });
    Problem::new(
        503,
        "Nothing more is taken on this connection: a request before had no clear end, or a body that was refused, too \
         many were sent ahead of their answers, or one of these could not be delivered. This attempt stored nothing; try again on a new connection.",
    )
    .with_incident(incident)
}

fn shutting_down() -> Problem {
    static REPORTER: Reporter = Reporter::new();
    let incident = REPORTER.report(|incident| {
        tracing::info!(instance = %incident, "refusing requests: the server stops");
    });
    Problem::new(
        503,
        "This server is shutting down. This attempt stored nothing; try another replica.",
    )
    .with_incident(incident)
}

/// Fails if clients have too many unread responses. Responses that are made at the same time may exceed the limit together.
fn check_room(unread: &AtomicUsize) -> Result<(), Problem> {
    static REPORTER: Reporter = Reporter::new();
    if unread.load(Ordering::Acquire) < MAX_UNREAD_BYTES {
        return Ok(());
    }
    Err(busy(REPORTER.report(|incident| {
        tracing::warn!(instance = %incident, "refusing pages: too many are not read by their clients");
    })))
}

fn busy(incident: Incident) -> Problem {
    Problem::new(
        503,
        "Too many requests are waiting. This attempt stored nothing; try again a little later.",
    )
    .with_incident(incident)
}
