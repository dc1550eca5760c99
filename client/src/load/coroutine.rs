//! Sends one request after the other, and records the outcome of each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use serde::Serialize;
use uuid::Uuid;

use super::Shared;
use super::connection::Connection;
use super::pace::Pace;
use super::timer::Timer;
use crate::history::{FinishedRequest, Op, Outcome, PageAnswer, PageReply, Phase, Reason, digest};
use crate::traffic::{Planned, Script};

/// The pause after a connection that failed, perhaps at once.
const CONNECT_FAILURE_PAUSE: Duration = Duration::from_millis(2);

/// A coroutine that sends one request after the other, over one connection to each replica.
#[derive(Debug)]
pub(super) struct Coroutine {
    shared: Arc<Shared>,
    number: u32,
    script: Script,
    connections: Vec<Connection>,
}

/// The body of a request.
#[derive(Serialize)]
struct PostBody<'a> {
    user: &'a str,
    text: &'a str,
}

impl Coroutine {
    pub(super) fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let connections = shared
            .replicas
            .iter()
            .map(|replica| Connection::new(Arc::clone(replica)))
            .collect();
        let script = shared.load.plan.coroutine(number);
        Self {
            shared: Arc::clone(shared),
            number,
            script,
            connections,
        }
    }

    /// Sends the requests of one phase, until there are no more or a signal arrives; returns the coroutine for the next phase.
    pub(super) async fn run(mut self, phase: Phase, pace: Arc<Pace>) -> Self {
        let mut sent = 0;
        let mut timer = Timer::default();
        while !self.shared.is_stopping() {
            let Some(intended_ns) = pace.next(sent, &mut timer, &self.shared).await else {
                break;
            };
            let Some(planned) = self.script.next() else {
                break;
            };
            self.send(&planned, intended_ns, phase).await;
            sent += 1;
        }
        if self.shared.is_stopping() {
            // A second signal ends the program without a flush.
            self.shared.recorder().flush();
        }
        self
    }

    /// Sends the next planned message to this replica, not to the planned one.
    pub(super) async fn probe(&mut self, replica: usize) {
        if let Some(planned) = self.script.next() {
            let planned = Planned { replica, ..planned };
            self.send(&planned, self.shared.clock.now(), Phase::Probe)
                .await;
        }
    }

    /// Requests a page of the last messages from this replica, and records it.
    pub(super) async fn fetch_page(&mut self, replica: usize) {
        let connection = &mut self.connections[replica];
        let request = connection.replica().page_request();
        let exchange = connection
            .exchange(request, &self.shared.load.options)
            .await;
        let body = exchange.answer.map_err(|reason| reason.to_string());
        let text = body.and_then(|body| {
            String::from_utf8(body.into()).map_err(|error| format!("the body: {error}"))
        });
        self.shared.recorder().record_page(PageReply {
            replica: u16::try_from(replica).unwrap_or(u16::MAX),
            start_ns: self.shared.clock.at(exchange.start),
            end_ns: self.shared.clock.at(exchange.end),
            answer: text.map_or_else(PageAnswer::NotJudged, PageAnswer::Body),
        });
    }

    /// Sends a message, repeats it as often as `--retries` allows, and records the outcome.
    async fn send(&mut self, planned: &Planned, intended_ns: u64, phase: Phase) {
        let body = PostBody {
            user: &self.shared.load.options.users.0[planned.user],
            text: &planned.text,
        };
        let body = Bytes::from(serde_json::to_vec(&body).expect("two strings are always JSON"));
        let options = &self.shared.load.options;
        let retries = options.retries;
        let key = (retries > 0).then(|| {
            HeaderValue::from_str(&Uuid::new_v4().to_string())
                .expect("a UUID has hexadecimal digits only")
        });
        let clock = self.shared.clock;
        let (mut replica, mut attempts, mut start_ns, mut unknown_outcome) =
            (planned.replica, 0, None, None);
        let mut unreadable = 0;
        let (end_ns, outcome, reply) = loop {
            let connection = &mut self.connections[replica];
            let message = connection
                .replica()
                .post_request(body.clone(), key.as_ref());
            let exchange = connection.exchange(message, options).await;
            attempts += 1;
            start_ns.get_or_insert(clock.at(exchange.start));
            let end_ns = clock.at(exchange.end);
            let reason = match exchange.answer {
                Ok(body) => break (end_ns, Outcome::Ok, Some(body)),
                Err(reason) => reason,
            };
            unreadable += u8::from(reason == Reason::Unreadable);
            if let outcome @ Outcome::Unknown(_) = reason.outcome() {
                unknown_outcome = Some(outcome);
            }
            if reason.can_fail_at_once() {
                // Without a pause, a coroutine whose connections fail at once would leave the others no time.
                tokio::time::sleep(CONNECT_FAILURE_PAUSE).await;
            }
            if attempts > retries || reason.is_refusal() || self.shared.is_stopping() {
                break (end_ns, unknown_outcome.unwrap_or(reason.outcome()), None);
            }
            tokio::time::sleep(backoff(attempts)).await;
            replica = (replica + 1) % self.connections.len();
        };
        let start_ns = start_ns.unwrap_or(end_ns);
        let op = Op {
            intended_ns: intended_ns.min(start_ns),
            start_ns,
            end_ns,
            seq: 0,
            text: digest(&planned.text),
            coroutine: self.number,
            request: planned.request,
            user: u32::try_from(planned.user).unwrap_or(u32::MAX),
            outcome,
            replica: u16::try_from(replica).unwrap_or(u16::MAX),
            attempts,
            phase,
        };
        self.shared.recorder().record(&FinishedRequest {
            op,
            text: &planned.text,
            reply: reply.as_deref(),
            unreadable,
        });
    }
}

/// Returns the pause before a retry: 50 ms, doubled each time up to a second, so that an overloaded server can recover.
fn backoff(attempts: u8) -> Duration {
    Duration::from_millis((25 << attempts.min(6)).min(1000))
}
