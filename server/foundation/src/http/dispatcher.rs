//! Hands each request to what answers it: at once where nothing blocks, else on a pool of threads.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::json;

use super::body_drain::most_abandoned;
use super::exchange::Exchange;
use super::load_shedding::no_room;
use super::metrics::EdgeMetrics;
use super::pipeline::{ConnectionStatus, Delivery};
use super::problem::Problem;
use super::request;
use super::response::Response;
use super::response_budget::ResponseBudget;
use super::response_queue::{ResponseQueue, connection_given_up};
use super::router::{Handler, Routed, Router, Target};
use super::{EdgeLimits, Service};
use crate::telemetry::{Incident, Program, Registry, Reporter, TEXT_FORMAT};
use crate::thread_pool::ThreadPool;

/// How long `/readyz` may take: whoever asks takes no answer for a no, and does not wait for long.
const READY_TIMEOUT: Duration = Duration::from_millis(1500);

/// What the receivers hand requests to. All requests of a connection come through one accept loop and one receiver, so their
/// turns are in the order of their arrival.
pub(super) struct Dispatcher<S: Service> {
    router: Router<S>,
    handlers: Arc<Handlers<S>>,
    /// Waits for bodies that are still on their way.
    body_pool: ThreadPool<(Target<S>, Exchange)>,
    /// Runs what asks the database: apart, so that slow clients do not hold it up.
    query_pool: Arc<ThreadPool<(Target<S>, Exchange)>>,
    /// Renders the metrics, for which the system reads files: apart, so that they are shown whatever holds up the others.
    metrics_pool: ThreadPool<(Target<S>, Exchange)>,
    /// Asks whether the service is ready: apart, so that pages that wait for the database do not hold it up. One at a time is
    /// enough, as each has a deadline from its arrival on.
    readiness_pool: ThreadPool<(Target<S>, Exchange)>,
    responses: Arc<ResponseQueue>,
    /// Logs connections on which nothing more is served.
    given_up: Reporter,
    /// Set with each request.
    heard: AtomicBool,
}

impl<S: Service> Dispatcher<S> {
    pub(super) fn new(
        service: Arc<S>,
        limits: EdgeLimits,
        stop_deadline: Arc<OnceLock<Instant>>,
        registry: Registry,
        metrics: Arc<EdgeMetrics>,
        responses: Arc<ResponseQueue>,
    ) -> Self {
        let router = Router::new(S::ENDPOINTS);
        metrics.count_by(&router.labels);
        let handlers = Arc::new(Handlers {
            service,
            limits,
            stop_deadline,
            being_read: Arc::default(),
            refusals: Reporter::default(),
            unheard: Reporter::default(),
            sickness: Reporter::default(),
            unread: ResponseBudget::default(),
            registry,
            metrics,
        });
        let pool = |name, threads| {
            let handlers = Arc::clone(&handlers);
            ThreadPool::new(name, threads, move |(target, exchange)| {
                handlers.handle(target, exchange);
            })
        };
        let query_pool = Arc::new(pool("query", limits.workers));
        let body_pool = {
            let (handlers, query_pool) = (Arc::clone(&handlers), Arc::clone(&query_pool));
            ThreadPool::new(
                "body",
                limits.workers,
                move |(target, exchange): (Target<S>, _)| match handlers.wait_for_body(exchange) {
                    None => {}
                    Some(exchange) if target.blocks() => query_pool.submit((target, exchange)),
                    Some(exchange) => handlers.handle(target, exchange),
                },
            )
        };
        Self {
            router,
            body_pool,
            query_pool,
            metrics_pool: pool("metrics", 1),
            readiness_pool: pool("readiness", 1),
            handlers,
            responses,
            given_up: Reporter::default(),
            heard: AtomicBool::new(false),
        }
    }

    /// What answers.
    pub(super) fn service(&self) -> &S {
        &self.handlers.service
    }

    /// Takes a request, without blocking: begins it, or has it begun when all before it on its connection are answered.
    pub(super) fn receive(self: &Arc<Self>, request: tiny_http::Request) {
        self.heard.store(true, Ordering::Relaxed);
        // Always there on TCP.
        let nobody = (Ipv4Addr::UNSPECIFIED, 0).into();
        let connection = request.remote_addr().copied().unwrap_or(nobody);
        let pipelines = self.responses.pipelines();
        let arrived = Instant::now();
        let Some(status) = pipelines.enter(connection, arrived) else {
            return self.responses.ignore(request, connection);
        };
        let Routed {
            target,
            label,
            parameters,
        } = self.router.route(request.method().as_str(), request.url());
        let responses = &self.responses;
        let mut exchange =
            Exchange::open(request, connection, label, parameters, arrived, responses);
        let refusal = match status {
            ConnectionStatus::Open => request::check_framing(exchange.request()).err(),
            ConnectionStatus::GivenUp => Some(self.refuse_what_follows(connection)),
        };
        if refusal.is_some() {
            // At once: what looks like the next request on this connection may have come already.
            exchange.give_up_connection();
        }
        let dispatcher = Arc::clone(self);
        pipelines.in_turn(connection, move |before| match refusal {
            Some(problem) => exchange.refuse(problem),
            None => dispatcher.begin(target, exchange, before),
        });
    }

    fn begin(&self, target: Target<S>, mut exchange: Exchange, before: Delivery) {
        // Most likely nobody would receive what it leads to.
        if before == Delivery::Lost && target.blocks() {
            let problem = self.refuse_what_follows(exchange.connection());
            return exchange.refuse(problem);
        }
        let body_limit = self.handlers.limits.body_limit;
        if request::needs_no_waiting(exchange.request(), body_limit) {
            // In any case: what stays in the connection would be taken for the next request.
            exchange.read_body(body_limit, exchange.received());
            self.dispatch(target, exchange);
        } else {
            exchange.wait_for_body(&self.handlers.being_read);
            self.body_pool.submit((target, exchange));
        }
    }

    /// Hands on a request whose body is read.
    fn dispatch(&self, target: Target<S>, exchange: Exchange) {
        match target {
            Target::Ready => self.readiness_pool.submit((target, exchange)),
            Target::Metrics => {
                self.observe();
                self.metrics_pool.submit((target, exchange));
            }
            _ if target.blocks() => self.query_pool.submit((target, exchange)),
            _ => {
                let handle = AssertUnwindSafe(|| self.handlers.handle(target, exchange));
                if catch_unwind(handle).is_err() {
                    // An exchange that is dropped by a panic answers 500 by itself.
                    tracing::error!("a request panicked; the server goes on");
                }
            }
        }
    }

    fn refuse_what_follows(&self, peer: SocketAddr) -> Problem {
        let incident = self.given_up.report(|incident| {
            tracing::warn!(
                instance = %incident, %peer,
                "refusing what follows on a connection: a request had no clear end, or a body that was refused, too many were \
                 sent ahead, or an answer before them could not be delivered"
            );
        });
        connection_given_up().with_incident(incident)
    }

    /// Brings the gauges up to date.
    fn observe(&self) {
        let metrics = &self.handlers.metrics;
        self.responses.observe();
        for pool in [
            &self.body_pool,
            &*self.query_pool,
            &self.metrics_pool,
            &self.readiness_pool,
        ] {
            metrics.set_workers(pool.state());
        }
    }

    /// Whether requests came since this was last asked.
    pub(super) fn heard(&self) -> bool {
        self.heard.swap(false, Ordering::AcqRel)
    }

    /// Requests that were taken and are not answered yet. Those whose bodies are still on their way are not taken.
    pub(super) fn unanswered(&self) -> usize {
        let being_read = self.handlers.being_read.load(Ordering::Acquire);
        self.responses.pipelines().open().saturating_sub(being_read)
    }

    /// Ends all threads, which must be idle.
    pub(super) fn join(&self) {
        self.body_pool.join();
        self.query_pool.join();
        self.metrics_pool.join();
        self.readiness_pool.join();
        self.responses.join();
    }
}

/// What is done with requests, on whichever thread.
struct Handlers<S> {
    service: Arc<S>,
    limits: EdgeLimits,
    /// Set when the server begins to stop.
    stop_deadline: Arc<OnceLock<Instant>>,
    /// Counts requests whose bodies are still on their way.
    being_read: Arc<AtomicUsize>,
    /// Logs requests that are refused since the server stops.
    refusals: Reporter,
    /// Logs bodies that nobody had the time to read.
    unheard: Reporter,
    /// Rate-limits the line on failing health.
    sickness: Reporter,
    unread: ResponseBudget,
    registry: Registry,
    metrics: Arc<EdgeMetrics>,
}

impl<S: Service> Handlers<S> {
    /// Reads a body that is still on its way. Until it is there, the request does not count as taken. None if the request was
    /// answered instead.
    fn wait_for_body(&self, mut exchange: Exchange) -> Option<Exchange> {
        let deadline = exchange.received() + self.limits.request_timeout;
        if deadline <= Instant::now() {
            let incident = self.unheard.report(|incident| {
                tracing::warn!(
                    instance = %incident,
                    "refusing bodies: their time was over before a worker was free, or their turn had come"
                );
            });
            exchange.refuse(busy(incident));
            return None;
        }
        exchange.read_body(self.limits.body_limit, deadline);
        exchange.received_now();
        Some(exchange)
    }

    fn handle(&self, target: Target<S>, mut exchange: Exchange) {
        let stopping = self.stop_deadline.get().is_some();
        if stopping {
            exchange.close_after();
        }
        exchange.wait_until(exchange.received() + self.limits.request_timeout);
        match target {
            Target::Ready if stopping => exchange.answer(self.shutting_down()),
            Target::Service(endpoint) => match endpoint.handler {
                Handler::Inline(_) if stopping => exchange.answer(self.shutting_down()),
                Handler::Inline(handle) => handle(&self.service, exchange),
                Handler::Blocking(_) if stopping && endpoint.writes() => {
                    exchange.answer(self.shutting_down());
                }
                Handler::Blocking(handle) => {
                    let response: Response = match self.unread.check_room() {
                        Ok(()) => handle(&self.service, &exchange).into(),
                        Err(incident) => busy(incident).into(),
                    };
                    exchange.answer(response.held_by(&self.unread));
                }
            },
            Target::Ready => {
                let timeout = self.limits.request_timeout.min(READY_TIMEOUT);
                let deadline = exchange.received() + timeout;
                let ready = self.service.ready(deadline);
                exchange.answer(ready.map(|()| Response::json(&json!({ "status": "ready" }))));
            }
            Target::Health => exchange.answer(self.health()),
            Target::Metrics => {
                self.service.observe();
                exchange.answer(Response::bytes(TEXT_FORMAT, self.registry.render()));
            }
            Target::Refused(problem) => exchange.answer(problem),
            Target::Contract => exchange.answer(contract::<S>()),
        }
    }

    fn health(&self) -> Result<Response, Problem> {
        if self.metrics.connections_abandoned.get() >= most_abandoned() / 2 {
            let incident = self.sickness.report(|incident| {
                tracing::error!(instance = %incident, "many connections had to be abandoned: the server needs a restart");
            });
            return Err(no_room().with_incident(incident));
        }
        let Program { version, build, .. } = self.registry.program();
        let health = json!({ "status": "up", "version": version, "build": build });
        Ok(Response::json(&health))
    }

    fn shutting_down(&self) -> Problem {
        let incident = self.refusals.report(|incident| {
            tracing::info!(instance = %incident, "refusing requests: the server stops");
        });
        Problem::new(
            503,
            "This server is shutting down. This attempt stored nothing; try another replica.",
        )
        .with_incident(incident)
    }
}

fn contract<S: Service>() -> Result<Response, Problem> {
    let contract = S::contract().ok_or_else(|| Problem::new(404, "There is no contract here."))?;
    Ok(Response::bytes("application/json", contract.as_bytes()))
}

fn busy(incident: Incident) -> Problem {
    Problem::new(
        503,
        "Too many requests are waiting. This attempt stored nothing; try again a little later.",
    )
    .with_incident(incident)
}
