//! The desk: what is done with a request, by its route.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::incident::Reporter;
use crate::message::{NewMessage, Submission};
use crate::metrics::Metrics;

use super::answer::Answer;
use super::exchange::Exchange;
use super::request::{PageRequest, Route};
use super::unread::Unread;
use super::{EdgeLimits, Service};

/// Whoever asks whether the server is ready takes no answer for a no, and does not wait for long.
const READY_TIMEOUT: Duration = Duration::from_millis(1500);

/// What is done with a request.
pub(super) struct Desk<S> {
    service: Arc<S>,
    pub(super) limits: EdgeLimits,
    stopping: Arc<AtomicBool>,
    /// Requests whose bodies are still on their way.
    pub(super) being_read: Arc<AtomicUsize>,
    /// Of the stopping server.
    refusals: Reporter,
    /// Of bodies that nobody had the time to read.
    unheard: Reporter,
    unread: Unread,
    pub(super) metrics: Arc<Metrics>,
}

impl<S: Service> Desk<S> {
    pub(super) fn new(
        service: Arc<S>,
        limits: EdgeLimits,
        stopping: Arc<AtomicBool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            service,
            limits,
            stopping,
            being_read: Arc::default(),
            refusals: Reporter::default(),
            unheard: Reporter::default(),
            unread: Unread::default(),
            metrics,
        }
    }

    /// For a body that is still on its way. Until it is there, the request does not count as taken.
    pub(super) fn wait_and_handle(&self, mut exchange: Exchange) {
        let deadline = exchange.arrived() + self.limits.request_timeout;
        if deadline <= Instant::now() {
            let incident = self.unheard.report(|incident| {
                tracing::warn!(instance = %incident, "refusing bodies: all workers wait for slow callers");
            });
            return exchange.refuse(Error::Busy(incident));
        }
        let body = exchange.read_body(self.limits.body, deadline);
        self.handle(exchange, body, Instant::now());
    }

    pub(super) fn handle_at_once(&self, mut exchange: Exchange) {
        let received = exchange.arrived();
        // In any case: what stays in the connection would be taken for the next request.
        let body = exchange.read_body(self.limits.body, received);
        self.handle(exchange, body, received);
    }

    fn handle(&self, mut exchange: Exchange, body: Result<Vec<u8>, Error>, received: Instant) {
        if self.stopping.load(Ordering::Acquire) {
            exchange.close_after();
        }
        match exchange.route() {
            Route::Post => match body.and_then(|body| self.parse(&exchange, &body, received)) {
                Ok(post) => {
                    exchange.brings(post.request_id);
                    self.service.post(post, exchange);
                }
                Err(error) => exchange.answer(error.into()),
            },
            Route::Page(query) => {
                let page = PageRequest::parse(query)
                    .and_then(|request| self.unread.check_room().and(Ok(request)))
                    .and_then(|request| {
                        let deadline = received + self.limits.request_timeout;
                        self.service.page(request, deadline)
                    });
                exchange.answer(Answer::from(page).held_by(&self.unread));
            }
            Route::Ready => {
                let ready = self.unless_stopping().and_then(|()| {
                    let patience = self.limits.request_timeout.min(READY_TIMEOUT);
                    self.service.ready(received + patience)
                });
                exchange.answer(ready.map_or_else(Answer::from, |()| Answer::ready()));
            }
            Route::Metrics => {
                self.service.observe();
                exchange.answer(Answer::metrics(self.metrics.render()));
            }
            Route::Health => exchange.answer(Answer::up()),
            Route::Contract => exchange.answer(Answer::contract()),
            Route::Unknown => exchange.answer(Error::NotFound.into()),
            Route::WrongMethod(allowed) => exchange.answer(Error::MethodNotAllowed(allowed).into()),
        }
    }

    fn unless_stopping(&self) -> Result<(), Error> {
        if self.stopping.load(Ordering::Acquire) {
            let incident = self.refusals.report(|incident| {
                tracing::info!(instance = %incident, "refusing requests: the server stops");
            });
            Err(Error::ShuttingDown(incident))
        } else {
            Ok(())
        }
    }

    fn parse(
        &self,
        exchange: &Exchange,
        body: &[u8],
        received: Instant,
    ) -> Result<Submission, Error> {
        self.unless_stopping()?;
        exchange.check_content_type()?;
        let request_id = exchange.request_id()?;
        let message = NewMessage::parse(body)?;
        Ok(Submission {
            message,
            request_id,
            deadline: received + self.limits.request_timeout,
        })
    }
}
