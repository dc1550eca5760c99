//! Writes responses.

use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Method, Request};
use tracing::{Level, field};
use uuid::Uuid;

use crate::thread_pool::ThreadPool;

use super::HttpArgs;
use super::metrics::EdgeMetrics;
use super::pipeline::{Delivery, Pipelines};
use super::problem::Problem;
use super::request;
use super::response::{CLOSE, Response};
use super::sockets;

/// Most characters of a path or a header in the log.
const MAX_SHOWN: usize = 128;

/// Responses that wait to be written, and refused bodies that wait to be read.
pub(super) struct ResponseQueue {
    /// The requests of each connection.
    pub(super) pipelines: Pipelines,
    pub(super) options: HttpArgs,
    pub(super) metrics: Arc<EdgeMetrics>,
    /// The value of the `Server` header of an upgrade.
    pub(super) program: &'static str,
    /// Writes responses.
    pub(super) repliers: ThreadPool<Answer>,
    /// Reads refused bodies: a pool of its own, because the client decides how long it takes.
    pub(super) drain: ThreadPool<DrainJob>,
}

type Answer = (Box<InFlight>, Response);

/// Reads the rest of a refused body, and closes its connection.
type DrainJob = Box<dyn FnOnce() + Send>;

/// A request whose response is not written yet. It is large, and passed on often, so it is always boxed.
pub(super) struct InFlight {
    pub(super) request: Request,
    /// The address of its peer.
    pub(super) connection: SocketAddr,
    pub(super) arrived: Instant,
    /// When the body had come, if it was waited for; else when the request arrived.
    pub(super) received: Instant,
    /// The index of its label in the metrics.
    pub(super) label: usize,
    /// Names and values of its path's parameters, not decoded.
    pub(super) parameters: Vec<(String, String)>,
    /// Empty once the handler has taken it, so that a request that waits for its response keeps no body.
    pub(super) body: Cell<Result<Vec<u8>, Problem>>,
    /// Counts it among the requests whose bodies are still on their way.
    pub(super) being_read: Option<Arc<()>>,
    pub(super) afterwards: Afterwards,
    /// The id of what it stores, for the log.
    pub(super) resource: Option<Uuid>,
    /// Where its response goes.
    pub(super) responses: Arc<ResponseQueue>,
}

/// What happens to the connection after the response.
#[derive(Default)]
pub(super) enum Afterwards {
    #[default]
    AsTheClientAsks,
    /// The response asks the client to close it.
    Close,
    /// Nothing more is served on it, and what its client still sends is read for a while.
    End,
    /// It is upgraded to another protocol by this function, which writes the response.
    Upgrade(Box<dyn FnOnce(Request) -> io::Result<()> + Send>),
}

impl ResponseQueue {
    pub(super) fn new(
        options: HttpArgs,
        metrics: Arc<EdgeMetrics>,
        program: &'static str,
    ) -> Arc<Self> {
        let deliver = |(open, answer): Answer| {
            let (responses, connection) = (Arc::clone(&open.responses), open.connection);
            let write = || responses.deliver(open, &answer);
            responses.pipelines.finish(connection, write);
        };
        Arc::new(Self {
            pipelines: Pipelines::default(),
            options,
            metrics,
            program,
            repliers: ThreadPool::new("replier", options.workers, deliver),
            drain: ThreadPool::new("drain", options.workers, |job: DrainJob| job()),
        })
    }

    /// Writes a response, and counts and logs it. It is no error of the server if the client is gone, or does not read in time.
    fn deliver(self: &Arc<Self>, open: Box<InFlight>, answer: &Response) -> Delivery {
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

    /// Writes a response by one write: `Response` of `tiny_http` takes two or more, and cannot have `Connection: close`.
    fn write(self: &Arc<Self>, mut open: Box<InFlight>, answer: &Response) -> io::Result<()> {
        let said = match mem::take(&mut open.afterwards) {
            Afterwards::AsTheClientAsks => request::connection(&open.request),
            Afterwards::Close => CLOSE,
            Afterwards::End => return self.write_and_drain(open, answer),
            Afterwards::Upgrade(upgrade) => return upgrade(open.request),
        };
        let bytes = answer.render(is_head_only(&open.request), said);
        let mut writer = open.request.into_writer();
        self.write_all(&mut writer, &bytes).inspect_err(|error| {
            // Part of it may be written: the client would take the next response for the rest.
            if error.kind() == io::ErrorKind::WouldBlock {
                self.shut_down(open.connection);
            }
        })
    }

    /// Answers a request whose body is not read, bypassing `tiny_http`: its `into_writer` and `respond` would read the rest of
    /// the body first, into a buffer of its declared length. All earlier responses of this connection are written.
    fn write_and_drain(self: &Arc<Self>, open: Box<InFlight>, answer: &Response) -> io::Result<()> {
        let connection = open.connection;
        let bytes = answer.render(is_head_only(&open.request), CLOSE);
        let written = sockets::duplicate(connection)
            .and_then(|mut stream| self.write_all(&mut stream, &bytes));
        self.drain(open.request, connection);
        written
    }

    /// Writes all, with a time limit for the whole: the time-out of the socket is for one write, so a client that reads a little
    /// now and then would hold the thread for long. Fails like a write that timed out.
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

/// A function that logs the response to a request, without body and query. None unless the log level is `debug`.
fn access_log(open: &InFlight) -> Option<impl FnOnce(&Response, Duration, bool) + use<>> {
    if !tracing::enabled!(Level::DEBUG) {
        return None;
    }
    let clip = |text: &str| text.chars().take(MAX_SHOWN).collect::<String>();
    let method = clip(open.request.method().as_str());
    let path = clip(open.request.url().split('?').next().unwrap_or_default());
    // Clients and proxies identify a request by this header.
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
