//! Where answers wait to be written, and how they leave.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tiny_http::{Method, Request};
use tracing::{Level, field};

use crate::telemetry::size;
use crate::thread_pool::ThreadPool;

use super::HttpArgs;
use super::in_flight::{Afterwards, InFlight};
use super::metrics::EdgeMetrics;
use super::pipeline::{Delivery, Pipelines};
use super::request;
use super::response::{Connection, Response};
use super::sockets;

/// Characters of a path or a header that are shown.
const MAX_SHOWN: usize = 128;

/// Where answers wait to be written, and what clients still send of bodies that are not wanted waits to be read.
pub(super) struct ResponseQueue {
    /// The requests of each connection.
    pub(super) pipelines: Pipelines,
    pub(super) options: HttpArgs,
    pub(super) metrics: Arc<EdgeMetrics>,
    /// The value of the `Server` header, where a connection leaves HTTP.
    pub(super) program: &'static str,
    /// Writes answers.
    pub(super) repliers: ThreadPool<Answer>,
    /// Reads what is not wanted. Apart from the others, because the client decides how long it takes.
    pub(super) drain: ThreadPool<DrainJob>,
}

type Answer = (Box<InFlight>, Response);

/// Waits for a client whose body is not wanted.
type DrainJob = Box<dyn FnOnce(&ResponseQueue) + Send>;

impl ResponseQueue {
    pub(super) fn new(
        options: HttpArgs,
        metrics: Arc<EdgeMetrics>,
        program: &'static str,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let (of_repliers, of_drain) = (Weak::clone(this), Weak::clone(this));
            Self {
                pipelines: Pipelines::default(),
                options,
                metrics,
                program,
                repliers: ThreadPool::new(
                    "replier",
                    options.workers,
                    move |(open, answer): Answer| {
                        if let Some(this) = of_repliers.upgrade() {
                            let connection = open.connection;
                            let write = || this.deliver(open, &answer);
                            this.pipelines.finish(connection, write);
                        }
                    },
                ),
                drain: ThreadPool::new("drain", options.workers, move |job: DrainJob| {
                    if let Some(this) = of_drain.upgrade() {
                        job(&this);
                    }
                }),
            }
        })
    }

    /// Sees to it, on a thread of its own, that answers do not wait for a client who does not read.
    pub(super) fn start_relief(self: &Arc<Self>) -> io::Result<()> {
        let this = Arc::clone(self);
        std::thread::Builder::new()
            .name("relief".to_owned())
            .spawn(move || this.repliers.keep_relieved())
            .map(drop)
    }

    /// Brings the gauges up to date.
    pub(super) fn observe(&self) {
        let metrics = &self.metrics;
        let waiting = self.pipelines.connections().len();
        metrics.requests_open.set(size(self.pipelines.open()));
        metrics.connections_waiting.set(size(waiting));
        metrics.set_workers(self.repliers.state());
        metrics.set_workers(self.drain.state());
    }

    /// A client that is gone, or does not read in time, is no error of ours.
    fn deliver(&self, open: Box<InFlight>, answer: &Response) -> Delivery {
        let metrics = &self.metrics;
        let (label, arrived) = (open.label, open.arrived);
        let log = access_log(&open);
        let delivered = self.write(open, answer).is_ok();
        let took = arrived.elapsed();
        metrics.answered(label, answer.status, took);
        if let Some(log) = log {
            log(answer, took, delivered);
        }
        if delivered {
            Delivery::Written
        } else {
            metrics.undelivered.inc();
            Delivery::Lost
        }
    }

    fn write(&self, mut open: Box<InFlight>, answer: &Response) -> io::Result<()> {
        match mem::take(&mut open.afterwards) {
            Afterwards::AsTheClientAsks => {
                let said = request::connection(&open.request);
                self.write_in_one_piece(open, answer, said)
            }
            Afterwards::Close => self.write_in_one_piece(open, answer, Connection::Close),
            Afterwards::End => self.write_and_drain(open, answer),
            Afterwards::Upgrade(upgrade) => upgrade(open.request),
        }
    }

    /// Answers a client whose body may not be read to its end, past `tiny_http`: its `into_writer` and `respond` read that rest
    /// first, into a buffer of its declared length. All before on this connection is written.
    fn write_and_drain(&self, open: Box<InFlight>, answer: &Response) -> io::Result<()> {
        let connection = open.connection;
        let bytes = answer.render(is_head_only(&open.request), Connection::Close);
        let written = sockets::duplicate(connection)
            .and_then(|mut stream| self.write_all(&mut stream, &bytes));
        self.drain(open.request, connection);
        written
    }

    /// `Response` of `tiny_http` would leave in two or more segments, and cannot say `Connection: close`.
    fn write_in_one_piece(
        &self,
        open: Box<InFlight>,
        answer: &Response,
        said: Connection,
    ) -> io::Result<()> {
        let bytes = answer.render(is_head_only(&open.request), said);
        let mut writer = open.request.into_writer();
        self.write_all(&mut writer, &bytes).inspect_err(|error| {
            // A part of it may be written: whatever was written next would be taken for the rest.
            if error.kind() == io::ErrorKind::WouldBlock {
                self.shut_down(open.connection);
            }
        })
    }

    /// A time-out of the connection is for one write alone; who takes a little now and then would hold the thread for long.
    /// So none is begun when the time for a response is over, which fails as a write does whose time is over.
    fn write_all(&self, to: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < self.options.send_timeout {
            match to.write(bytes) {
                Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) if length < bytes.len() => bytes = &bytes[length..],
                Ok(_all) => return to.flush(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn is_head_only(request: &Request) -> bool {
    *request.method() == Method::Head
}

/// What logs the answer to a request: nothing of the message's text, and nothing of the query. None unless the log is asked
/// for each request.
fn access_log(open: &InFlight) -> Option<impl FnOnce(&Response, Duration, bool) + use<>> {
    if !tracing::enabled!(Level::DEBUG) {
        return None;
    }
    let clip = |text: &str| text.chars().take(MAX_SHOWN).collect::<String>();
    let method = clip(open.request.method().as_str());
    let path = clip(open.request.url().split('?').next().unwrap_or_default());
    // By which clients and proxies find a request again.
    let id = request::headers(&open.request, "X-Request-Id").next();
    let fit = |id: &&str| id.len() <= MAX_SHOWN && id.bytes().all(|byte| byte.is_ascii_graphic());
    let request_id = id.filter(fit).map(str::to_owned);
    let (peer, resource) = (open.connection, open.resource);
    Some(move |answer: &Response, took: Duration, delivered: bool| {
        tracing::debug!(
            %peer,
            method,
            path,
            status = answer.status,
            duration_ms = took.as_secs_f64() * 1000.0,
            delivered,
            resource_id = resource.map(field::display),
            request_id,
            instance = answer.incident.map(field::display),
            "request"
        );
    })
}
