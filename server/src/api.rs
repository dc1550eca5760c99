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
    /// What is stored.
    pub store: Store,
    /// The way into it.
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

    /// Asks whether the database takes writes, and the writer can send some.
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
        Ok(post) => {
            exchange.set_resource(post.request_id.uuid());
            messenger.writer.submit(post, exchange);
        }
        Err(problem) => exchange.answer(problem),
    }
}

/// Reads the message that a request brings.
///
/// # Errors
/// What the contract says of a body or a key that it does not take.
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
