//! A request and the answer it is owed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Header, Method, ReadWrite, Request, Response};
use tracing::{Level, field};

use crate::error::Error;
use crate::incident::Reporter;
use crate::message::RequestId;
use crate::metrics::{EdgeMetrics, Endpoint, Metrics};
use crate::workers::Workers;

use super::answer::{Answer, Clock, Connection};
use super::in_order::{Fate, InOrder, Standing, Ticket, Turn};
use super::request::{self, Rest, Route};

/// When `tiny_http` reads the rest of an unread body, it asks for a buffer of its whole declared length. Up to here the
/// system grants that without spending memory; for more than there is, the process would be aborted.
const MOST_TO_DRAIN: usize = 256 << 20;

/// The status of an interim answer (RFC 9110, section 15.2.1).
const CONTINUE: u16 = 100;

/// Characters of a path or a header that the log shows.
const MOST_LOGGED: usize = 128;

/// A request and the answer it is owed. Dropped without an answer, it answers 500.
pub struct Exchange {
    open: Option<Open>,
    outbox: Arc<Outbox>,
}

struct Open {
    request: Request,
    /// The address of its peer.
    connection: SocketAddr,
    ticket: Ticket<SocketAddr>,
    arrived: Instant,
    endpoint: Endpoint,
    rest: Rest,
    close: bool,
    /// Of a message, once it is parsed.
    message: Option<RequestId>,
}

impl Exchange {
    /// Gives a request its place among those of its connection. Also tells how that stands. None if the connection was
    /// given up and goes on sending all the same.
    pub(super) fn open(request: Request, outbox: &Arc<Outbox>) -> Option<(Self, Standing)> {
        let arrived = Instant::now();
        // Always there on TCP.
        let connection = request
            .remote_addr()
            .copied()
            .unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let Some((ticket, standing)) = outbox.lines.enter(connection, arrived) else {
            outbox.drains.ignore(request);
            return None;
        };
        let open = Open {
            endpoint: Route::of(&request).endpoint(),
            request,
            connection,
            ticket,
            arrived,
            rest: Rest::None,
            close: false,
            message: None,
        };
        let exchange = Self {
            open: Some(open),
            outbox: Arc::clone(outbox),
        };
        Some((exchange, standing))
    }

    /// Refuses a request unread, and asks the caller to close the connection.
    pub(super) fn refuse(mut self, error: Error) {
        let open = self.open_mut();
        open.close = true;
        if !request::is_in_memory(&open.request) {
            open.rest = Rest::Unread;
        }
        self.answer(error.into());
    }

    /// Nothing that follows on its connection is served: it is not known where this request ends.
    pub(super) fn give_up_connection(&self) {
        let connection = self.open_ref().connection;
        self.outbox.lines.give_up(connection, Instant::now());
    }

    /// Answers, from any thread and without blocking.
    pub fn answer(mut self, answer: Answer) {
        if let Some(open) = self.open.take() {
            self.outbox.repliers.submit((open, Item::Answer(answer)));
        }
    }

    /// Calls `ask`, from any thread, when all answers before are written: whoever asks for much at once gets one thing
    /// after the other. If they cannot be written, it is not called, for nobody would receive what it leads to.
    pub(super) fn in_turn(mut self, ask: impl FnOnce(Self) + Send + 'static) {
        if self.outbox.lines.is_first(self.open_ref().ticket) {
            return ask(self);
        }
        if let Some(open) = self.open.take() {
            let outbox = Arc::clone(&self.outbox);
            let ask = move |open| {
                ask(Self {
                    open: Some(open),
                    outbox,
                });
            };
            self.outbox
                .repliers
                .submit((open, Item::Question(Box::new(ask))));
        }
    }

    pub(super) fn route(&self) -> Route<'_> {
        Route::of(self.request())
    }

    pub(super) fn check_framing(&self) -> Result<(), Error> {
        request::check_framing(self.request())
    }

    pub(super) fn needs_no_waiting(&self, body_limit: usize) -> bool {
        request::needs_no_waiting(self.request(), body_limit)
    }

    /// Begins no read after `deadline`.
    pub(super) fn read_body(&mut self, limit: usize, deadline: Instant) -> Result<Vec<u8>, Error> {
        let open = self.open_mut();
        let (body, rest) = request::read_body(&mut open.request, limit, deadline);
        open.rest = rest;
        if rest == Rest::Unclear {
            self.give_up_connection();
        }
        body
    }

    pub(super) fn check_content_type(&self) -> Result<(), Error> {
        request::check_content_type(self.request())
    }

    pub(super) fn request_id(&self) -> Result<RequestId, Error> {
        request::request_id(self.request())
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.open_ref().endpoint
    }

    pub(super) fn arrived(&self) -> Instant {
        self.open_ref().arrived
    }

    /// The message that the request brings, for the log.
    pub(super) fn brings(&mut self, message: RequestId) {
        self.open_mut().message = Some(message);
    }

    /// The answer will ask the caller to close the connection.
    pub(super) fn close_after(&mut self) {
        self.open_mut().close = true;
    }

    fn request(&self) -> &Request {
        &self.open_ref().request
    }

    fn open_ref(&self) -> &Open {
        self.open
            .as_ref()
            .expect("only `answer` and `drop` take it, and both end the exchange")
    }

    fn open_mut(&mut self) -> &mut Open {
        self.open
            .as_mut()
            .expect("only `answer` and `drop` take it, and both end the exchange")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let incident = self.outbox.dropped.report(|incident| {
                tracing::error!(instance = %incident, "a request was dropped without an answer");
            });
            let answer = Error::Defect(incident).into();
            self.outbox.repliers.submit((open, Item::Answer(answer)));
        }
    }
}

/// Answers several exchanges at once: cheaper than each by itself.
pub fn answer_all<A: Into<Answer>>(answers: impl IntoIterator<Item = (Exchange, A)>) {
    let mut outbox = None;
    let jobs: Vec<_> = answers
        .into_iter()
        .filter_map(|(mut exchange, answer)| {
            let open = exchange.open.take()?;
            outbox.get_or_insert_with(|| Arc::clone(&exchange.outbox));
            Some((open, Item::Answer(answer.into())))
        })
        .collect();
    if let Some(outbox) = outbox {
        outbox.repliers.submit_all(jobs);
    }
}

/// Where answers wait to be written.
pub(super) struct Outbox {
    lines: Arc<Lines>,
    repliers: Workers<(Open, Item)>,
    drains: Arc<Drains>,
    dropped: Reporter,
}

type Lines = InOrder<SocketAddr, (Open, Item)>;

/// What takes the place of a request in the line of its connection.
enum Item {
    Answer(Answer),
    /// To be asked in its turn.
    Question(Box<dyn FnOnce(Open) + Send>),
}

impl Outbox {
    pub(super) fn new(most_threads: usize, metrics: Arc<Metrics>) -> Self {
        let lines = Arc::new(InOrder::new());
        let drains = Arc::new(Drains::new(most_threads, Arc::clone(&lines)));
        let repliers = {
            let (lines, drains) = (Arc::clone(&lines), Arc::clone(&drains));
            let clock = Clock::new();
            Workers::new(
                "replier",
                most_threads,
                move |(open, item): (Open, Item)| {
                    lines.leave(open.ticket, (open, item), |turn| match turn {
                        Turn::Write((open, Item::Answer(answer))) => {
                            open.answer(&answer, &metrics.edge, |open| {
                                open.write(&answer, &clock, &lines, &drains)
                            })
                        }
                        Turn::Write((open, Item::Question(ask))) => {
                            ask(open);
                            Fate::Deferred
                        }
                        Turn::Drop((open, item)) => {
                            let answer = item.or_given_up();
                            open.answer(&answer, &metrics.edge, |open| {
                                drains.ignore(open.request);
                                Err(io::ErrorKind::BrokenPipe.into())
                            })
                        }
                    });
                },
            )
        };
        Self {
            lines,
            repliers,
            drains,
            dropped: Reporter::default(),
        }
    }

    /// Sees to it that answers do not wait for a caller who does not read.
    pub(super) fn relieve(&self) {
        self.repliers.relieve();
    }

    /// Ends the threads that write.
    pub(super) fn join(&self) {
        self.repliers.join();
    }

    /// Requests that have come, and whose answers are not written yet.
    pub(super) fn unanswered(&self) -> usize {
        self.lines.open()
    }

    /// Brings the gauges up to date.
    pub(super) fn observe(&self, metrics: &EdgeMetrics) {
        metrics.set_open(self.lines.open(), self.lines.connections());
        self.repliers.observe(metrics);
        self.drains.workers.observe(metrics);
    }
}

/// Threads for what callers may still send of bodies that are not wanted. Apart from the others, because the caller
/// decides how long it takes.
struct Drains {
    workers: Workers<Box<dyn FnOnce() + Send>>,
    lines: Arc<Lines>,
}

impl Drains {
    fn new(most_threads: usize, lines: Arc<Lines>) -> Self {
        let workers = Workers::new("drain", most_threads, |job: Box<dyn FnOnce() + Send>| job());
        Self { workers, lines }
    }

    /// For a request that gets no answer.
    fn ignore(&self, request: Request) {
        if request.body_length().unwrap_or(0) > MOST_TO_DRAIN {
            return give_up(request);
        }
        let in_memory = request::is_in_memory(&request);
        // Without this `tiny_http` would answer 500. It reads the rest of the body meanwhile.
        let ignore = move || drop(request.into_writer());
        if in_memory {
            ignore();
        } else {
            self.workers.submit(Box::new(ignore));
        }
    }

    /// Reads the rest of a body, so that it is not taken for a request. Where that fails, what follows is not served.
    fn drain(&self, mut stream: Box<dyn ReadWrite + Send>, connection: SocketAddr) {
        let lines = Arc::clone(&self.lines);
        self.workers.submit(Box::new(move || {
            let most = MOST_TO_DRAIN as u64;
            let mut rest = Read::by_ref(&mut stream).take(most);
            let drained = std::io::copy(&mut rest, &mut std::io::sink());
            if !drained.is_ok_and(|length| length < most) {
                lines.give_up(connection, Instant::now());
            }
        }));
    }
}

/// Keeps `tiny_http` from reading the rest of a body. Costs the thread and the descriptors of this connection, until the
/// process ends.
fn give_up<T>(rest: T) {
    tracing::warn!("refused a body of more than {MOST_TO_DRAIN} bytes; its connection is given up");
    std::mem::forget(rest);
}

impl Item {
    /// Of a request that gets no answer any more.
    fn or_given_up(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Question(_) => Error::ConnectionGivenUp.into(),
        }
    }
}

impl Open {
    /// Has the answer written, and counts it. A caller that is gone, or does not read in time, is no error of ours.
    fn answer(
        self,
        answer: &Answer,
        metrics: &EdgeMetrics,
        write: impl FnOnce(Self) -> io::Result<()>,
    ) -> Fate {
        let (endpoint, arrived) = (self.endpoint, self.arrived);
        let line = tracing::enabled!(Level::DEBUG).then(|| Line::of(&self));
        let written = write(self);
        if written.is_err() {
            metrics.undelivered.inc();
        }
        let took = arrived.elapsed();
        metrics.answered(endpoint, answer.status, took);
        if let Some(line) = line {
            line.log(answer, took, written.is_ok());
        }
        if written.is_ok() {
            Fate::Written
        } else {
            Fate::Lost
        }
    }

    fn write(
        self,
        answer: &Answer,
        clock: &Clock,
        lines: &Lines,
        drains: &Drains,
    ) -> io::Result<()> {
        let head_only = *self.request.method() == Method::Head;
        let connection = self.connection;
        let written = match self.rest {
            Rest::None => self.write_in_one_piece(answer, head_only, clock),
            Rest::Unread | Rest::Unclear => {
                let date = clock.date();
                self.write_and_drain(answer, head_only, &date, drains)
            }
        };
        written.inspect_err(|error| {
            // The time is over, and the connection may still be open.
            if error.kind() == io::ErrorKind::WouldBlock {
                lines.break_off(connection, Instant::now());
            }
        })
    }

    /// `Response` of `tiny_http` would leave in two or more segments, and cannot say `Connection: close`.
    fn write_in_one_piece(self, answer: &Answer, head_only: bool, clock: &Clock) -> io::Result<()> {
        let connection = if self.close {
            Connection::Close
        } else {
            request::connection(&self.request)
        };
        let bytes = answer.render(head_only, connection, &clock.date());
        let mut writer = self.request.into_writer();
        writer.write_all(&bytes)?;
        writer.flush()
    }

    /// For a caller whose body was not read to its end. `into_writer` and `respond` of `tiny_http` read that rest into a
    /// buffer of its declared length, the former even before it gives the writer. `upgrade` hands over reader and
    /// writer without; its own headers say nothing of the body, so ours stand behind the name of the server here.
    ///
    /// For all but an interim answer `upgrade` sorts the codings that the caller takes. With one of quality NaN the sort
    /// may panic, and again in the destructor, which would abort the process. So such a caller gets an interim answer first.
    fn write_and_drain(
        self,
        answer: &Answer,
        head_only: bool,
        date: &str,
        drains: &Drains,
    ) -> io::Result<()> {
        let declared = self.request.body_length().unwrap_or(0);
        let (first, rest) = if request::may_rate_with_nan(&self.request) {
            let whole = answer.render(head_only, Connection::Close, date);
            (Response::empty(CONTINUE), whole)
        } else {
            let headers = format!("DummyMessenger\r\n{}", answer.headers(Connection::Close));
            let server = Header::from_bytes("Server", headers).expect("all headers are ASCII");
            let body = if head_only {
                Vec::new()
            } else {
                answer.body().concat()
            };
            (Response::empty(answer.status).with_header(server), body)
        };
        let mut stream = self.request.upgrade("HTTP/1.1", first);
        let written = stream.write_all(&rest).and_then(|()| stream.flush());
        if declared > MOST_TO_DRAIN {
            give_up(stream);
        } else {
            drains.drain(stream, self.connection);
        }
        written
    }
}

/// What the log tells of each request, if it is asked for: nothing of the message, and nothing of the query.
struct Line {
    peer: Option<SocketAddr>,
    method: String,
    path: String,
    message: Option<RequestId>,
    /// The caller's own name for this request.
    named: Option<String>,
}

impl Line {
    fn of(open: &Open) -> Self {
        let clip = |text: &str| text.chars().take(MOST_LOGGED).collect();
        let path = open.request.url().split('?').next().unwrap_or_default();
        Self {
            peer: open.request.remote_addr().copied(),
            method: clip(open.request.method().as_str()),
            path: clip(path),
            message: open.message,
            named: request::caller_s_id(&open.request, MOST_LOGGED).map(str::to_owned),
        }
    }

    fn log(&self, answer: &Answer, took: Duration, delivered: bool) {
        tracing::debug!(
            peer = self.peer.map(field::display),
            method = self.method,
            path = self.path,
            status = answer.status,
            duration_ms = took.as_secs_f64() * 1000.0,
            delivered,
            message_id = self.message.map(|id| field::display(id.uuid())),
            request_id = self.named,
            instance = answer.incident.map(field::display),
            "request"
        );
    }
}
