//! The desk: what is done with a request, by its route.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::error::Error;
use crate::incident::Reporter;
use crate::message::{NewMessage, Post};
use crate::metrics::Metrics;

use super::answer::Answer;
use super::body_drain::Abandoned;
use super::exchange::Exchange;
use super::request::{PageRequest, Route};
use super::response_budget::ResponseBudget;
use super::{EdgeLimits, Service};

/// What is done with a request.
pub(super) struct Desk<S> {
    service: Arc<S>,
    pub(super) limits: EdgeLimits,
    stopping: Arc<AtomicBool>,
    abandoned: Arc<Abandoned>,
    /// Requests whose bodies are still on their way.
    pub(super) being_read: Arc<AtomicUsize>,
    /// Of the stopping server.
    refusals: Reporter,
    /// Of bodies that nobody had the time to read.
    unheard: Reporter,
    /// Rate-limits the line on failing health.
    sickness: Reporter,
    unread: ResponseBudget,
    pub(super) metrics: Arc<Metrics>,
}

impl<S: Service> Desk<S> {
    pub(super) fn new(
        service: Arc<S>,
        limits: EdgeLimits,
        stopping: Arc<AtomicBool>,
        abandoned: Arc<Abandoned>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            service,
            limits,
            stopping,
            abandoned,
            being_read: Arc::default(),
            refusals: Reporter::default(),
            unheard: Reporter::default(),
            sickness: Reporter::default(),
            unread: ResponseBudget::default(),
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
                    .and_then(|request| self.service.page(request));
                exchange.answer(Answer::from(page).held_by(&self.unread));
            }
            Route::Ready => {
                let ready = self.unless_stopping().and_then(|()| self.service.ready());
                exchange.answer(ready.map_or_else(Answer::from, |()| Answer::ready()));
            }
            Route::Metrics => {
                self.service.observe();
                exchange.answer(Answer::metrics(self.metrics.render()));
            }
            Route::Health => exchange.answer(self.health()),
            Route::Contract => exchange.answer(Answer::contract()),
            Route::Unknown => exchange.answer(Error::NotFound.into()),
            Route::WrongMethod(allowed) => exchange.answer(Error::MethodNotAllowed(allowed).into()),
        }
    }

    fn health(&self) -> Answer {
        if !self.abandoned.are_many() {
            return Answer::up();
        }
        let incident = self.sickness.report(|incident| {
            tracing::error!(instance = %incident, "many connections had to be abandoned: the server needs a restart");
        });
        Error::Full(incident).into()
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

    fn parse(&self, exchange: &Exchange, body: &[u8], received: Instant) -> Result<Post, Error> {
        self.unless_stopping()?;
        exchange.check_content_type()?;
        let request_id = exchange.request_id()?;
        let message = NewMessage::parse(body)?;
        Ok(Post {
            message,
            request_id,
            deadline: received + self.limits.request_timeout,
        })
    }
}
