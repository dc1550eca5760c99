//! A request and the answer it is owed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tiny_http::Request;

use crate::error::Error;
use crate::message::RequestId;
use crate::metrics::Endpoint;

use super::answer::Answer;
use super::pipeline::{Slot, Standing};
use super::request::{self, Rest, Route};
use super::response_queue::ResponseQueue;

/// A request and the answer it is owed. Dropped without an answer, it answers 500.
pub struct Exchange {
    open: Option<InFlight>,
    responses: Arc<ResponseQueue>,
    being_read: Option<BeingRead>,
}

/// Counts among the requests whose bodies are still on their way, until it is dropped.
struct BeingRead(Arc<AtomicUsize>);

impl BeingRead {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for BeingRead {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What becomes of a connection when an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    KeepOpen,
    ShutDown,
}

/// A request whose answer is not written yet.
pub(super) struct InFlight {
    pub(super) request: Request,
    /// The address of its peer.
    pub(super) connection: SocketAddr,
    /// Its place among the requests of its connection.
    pub(super) slot: Slot<SocketAddr>,
    pub(super) arrived: Instant,
    pub(super) endpoint: Endpoint,
    /// What its client may still send of the body.
    pub(super) rest: Rest,
    /// The answer asks the client to close the connection.
    pub(super) close: bool,
    pub(super) afterwards: Afterwards,
    /// The message that it brings, once it is parsed.
    pub(super) message: Option<RequestId>,
}

impl InFlight {
    /// Its body is not read, and its client asked to close the connection.
    pub(super) fn leave_unread(&mut self) {
        self.close = true;
        if !request::is_in_memory(&self.request) {
            self.rest = Rest::OnItsWay;
        }
    }
}

impl Exchange {
    /// Gives a request its place among those of its connection. Also tells how that stands. None if the connection was
    /// given up and goes on sending all the same.
    pub(super) fn open(
        request: Request,
        responses: &Arc<ResponseQueue>,
    ) -> Option<(Self, Standing)> {
        let arrived = Instant::now();
        // Always there on TCP.
        let connection = request
            .remote_addr()
            .copied()
            .unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let Some((slot, standing)) = responses.reserve(connection, arrived) else {
            responses.ignore(request, connection);
            return None;
        };
        let open = InFlight {
            endpoint: Route::of(&request).endpoint(),
            request,
            connection,
            slot,
            arrived,
            rest: Rest::None,
            close: false,
            afterwards: Afterwards::KeepOpen,
            message: None,
        };
        let exchange = Self {
            open: Some(open),
            responses: Arc::clone(responses),
            being_read: None,
        };
        Some((exchange, standing))
    }

    /// Refuses a request unread, and asks the client to close the connection.
    pub(super) fn refuse(mut self, error: Error) {
        self.open_mut().leave_unread();
        self.answer(error.into());
    }

    /// Nothing that follows on its connection is served, and when it is answered the connection is shut down.
    pub(super) fn give_up_connection(&mut self) {
        self.responses.give_up(self.connection());
        self.open_mut().afterwards = Afterwards::ShutDown;
    }

    /// Counts the request in `count` until its body is read, or it is answered.
    pub(super) fn wait_for_body(&mut self, count: &Arc<AtomicUsize>) {
        self.being_read = Some(BeingRead::begin(count));
    }

    /// Answers, from any thread and without blocking.
    pub fn answer(mut self, answer: Answer) {
        if let Some(open) = self.take() {
            self.responses.answer(open, answer);
        }
    }

    /// Calls `ask`, from any thread, when all answers before are written: whoever asks for much at once gets one thing
    /// after the other. If they cannot be written, it is not called: most likely nobody would receive what it leads to.
    pub(super) fn in_turn(mut self, ask: impl FnOnce(Self) + Send + 'static) {
        if self.responses.is_next(self.open_ref()) {
            return ask(self);
        }
        if let Some(open) = self.take() {
            let responses = Arc::clone(&self.responses);
            self.responses.ask_in_turn(open, move |open| {
                ask(Self {
                    open: Some(open),
                    responses,
                    being_read: None,
                });
            });
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
        // Also if it panics.
        let _until_it_is_read = self.being_read.take();
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

    /// The address of its peer.
    pub(super) fn connection(&self) -> SocketAddr {
        self.open_ref().connection
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

    /// The answer will ask the client to close the connection.
    pub(super) fn close_after(&mut self) {
        self.open_mut().close = true;
    }

    /// From now on it is owed an answer, whatever became of its body.
    fn take(&mut self) -> Option<InFlight> {
        self.being_read = None;
        self.open.take()
    }

    fn request(&self) -> &Request {
        &self.open_ref().request
    }

    fn open_ref(&self) -> &InFlight {
        self.open
            .as_ref()
            .expect("only `answer` and `drop` take it, and both end the exchange")
    }

    fn open_mut(&mut self) -> &mut InFlight {
        self.open
            .as_mut()
            .expect("only `answer` and `drop` take it, and both end the exchange")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(open) = self.take() {
            self.responses.answer_dropped(open);
        }
    }
}

/// Answers several exchanges at once: cheaper than each by itself.
pub fn answer_all<A: Into<Answer>>(answers: impl IntoIterator<Item = (Exchange, A)>) {
    let mut responses = None;
    let answers: Vec<_> = answers
        .into_iter()
        .filter_map(|(mut exchange, answer)| {
            let open = exchange.take()?;
            responses.get_or_insert_with(|| Arc::clone(&exchange.responses));
            Some((open, answer.into()))
        })
        .collect();
    if let Some(responses) = responses {
        responses.answer_all(answers);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use tiny_http::TestRequest;

    use super::super::body_drain::Abandoned;
    use super::*;
    use crate::metrics::Metrics;

    type End = fn(Exchange);

    #[test]
    fn a_request_counts_as_being_read_until_that_ends_in_whatever_way() {
        let abandoned = Arc::new(Abandoned::new(crossbeam_channel::unbounded().0));
        let responses = ResponseQueue::new(1, Duration::MAX, abandoned, Metrics::new());
        let responses = Arc::new(responses);
        let count = Arc::default();
        let being_read = || {
            let opened = Exchange::open(TestRequest::new().into(), &responses);
            let (mut exchange, _) = opened.expect("nothing was sent ahead");
            exchange.wait_for_body(&count);
            assert_eq!(count.load(Ordering::Acquire), 1);
            exchange
        };
        let ends: [(&str, End); 4] = [
            ("it is read", |mut exchange| {
                let arrived = exchange.arrived();
                let _body = exchange.read_body(0, arrived);
                std::mem::forget(exchange);
            }),
            ("it is answered unread", |exchange| {
                exchange.answer(Answer::up());
            }),
            ("it is dropped", drop),
            ("its thread panics", |_exchange| {
                panic!("while the body is read")
            }),
        ];
        for (end, of) in ends {
            let exchange = being_read();
            let _panic = catch_unwind(AssertUnwindSafe(|| of(exchange)));
            assert_eq!(count.load(Ordering::Acquire), 0, "{end}");
        }
    }
}
