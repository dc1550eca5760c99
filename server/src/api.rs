//! The service: its endpoints, what clients send to them, and what they get.

use std::time::Instant;

use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::mysql::Access;
use mysql::Conn;
use serde::Deserialize;

use crate::error::Error;
use crate::message::{NewMessage, RequestId, Submission};
use crate::store::{self, Store};
use crate::writer::Writer;

/// Stores messages and shows them.
pub struct Messenger {
    /// Reads messages.
    pub store: Store,
    /// Stores messages.
    pub writer: Writer,
}

impl Service for Messenger {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::post("/messages", Handler::Inline(post))
            .with_statuses(&[200, 400, 413, 415, 422, 500, 503, 504]),
        Endpoint::get("/messages", Handler::Blocking(page)).with_statuses(&[200, 400, 422, 503]),
    ];

    fn contract() -> Option<&'static str> {
        Some(include_str!("openapi.json"))
    }

    /// Checks that the database takes writes, and that the writer can send some.
    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.store.ready(deadline)?)
    }

    fn observe(&self) {
        self.writer.observe();
        self.store.observe();
    }

    fn finish(self, deadline: Instant) {
        self.writer.finish(deadline);
    }
}

/// `POST /messages`: stores a message, and answers when that is done.
fn post(messenger: &Messenger, mut exchange: Exchange) {
    match parse_post(&exchange) {
        Ok(submission) => {
            exchange.set_resource(submission.request_id.uuid());
            messenger.writer.submit(submission, exchange);
        }
        Err(problem) => exchange.answer(problem),
    }
}

/// Parses the message of a request.
///
/// # Errors
/// As the contract says for a body or a key that is not valid.
pub fn parse_post(exchange: &Exchange) -> Result<Submission, Problem> {
    let body = exchange.json_body()?;
    let key = exchange.idempotency_key()?;
    let message = NewMessage::parse(&body)?;
    Ok(Submission {
        message,
        request_id: key.map_or_else(RequestId::draw, RequestId::Client),
    })
}

/// `GET /messages`: a page of the history, oldest first.
fn page(messenger: &Messenger, exchange: &Exchange) -> Result<Response, Problem> {
    let PageRequest { before, limit } = exchange.parameters()?;
    let limit = limit.unwrap_or(10);
    if !(1..=MAX_SHOWN).contains(&limit) {
        let detail = format!("`limit` is {limit}. It takes 1 to {MAX_SHOWN}.");
        return Err(Error::OutsideLimit(detail).into());
    }
    let page = move |connection: &mut Conn| store::page(connection, before, limit);
    let reading = &messenger.store.reading;
    let messages = reading.run(Access::Read, exchange.deadline(), page)?;
    Ok(Response::json(&messages))
}

/// Most messages of a page.
const MAX_SHOWN: u64 = 100;

/// `GET /messages`: messages with a number below `before`, the last `limit` of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageRequest {
    /// Exclusive upper bound of `seq`; none means the end of the history.
    before: Option<u64>,
    /// Ten if absent.
    limit: Option<u64>,
}
