//! The service: its endpoints, what clients send to them, and what they get.

use std::time::Instant;

use foundation::http::{Endpoint, Exchange, Handler, Part, Problem, Response, Service};
use foundation::mysql::Access;
use mysql::Conn;

use crate::error::Error;
use crate::message::{NewMessage, ReplyBody, RequestId, Submission};
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
        let answer = self.store.check_writer(deadline).and_then(|()| {
            let access = Access::CheckWritable;
            self.store.read(access, deadline, store::check_writable)
        });
        Ok(answer.map_err(Error::from)?)
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
    let request_id = request_id(exchange.headers("Idempotency-Key"))?;
    let message = NewMessage::parse(&body)?;
    Ok(Submission {
        message,
        request_id,
        deadline: exchange.deadline(),
    })
}

/// The client's `Idempotency-Key`, or an id drawn here.
fn request_id<'a>(mut keys: impl Iterator<Item = &'a str>) -> Result<RequestId, Error> {
    match (keys.next(), keys.next()) {
        (None, _) => Ok(RequestId::draw()),
        (Some(key), None) => RequestId::parse(key),
        (Some(_), Some(_)) => Err(Error::Malformed("Send one `Idempotency-Key`.".to_owned())),
    }
}

/// `GET /messages`: a page of the history, oldest first.
fn page(messenger: &Messenger, exchange: &Exchange) -> Result<Response, Problem> {
    let PageRequest { before, limit } = PageRequest::parse(exchange.query())?;
    let page = move |connection: &mut Conn| store::page(connection, before, limit);
    let answer = messenger
        .store
        .read(Access::Read, exchange.deadline(), page);
    let messages = answer.map_err(Error::from)?;
    Ok(Response::json(&messages))
}

impl From<ReplyBody> for Response {
    fn from(window: ReplyBody) -> Self {
        let (buffer, range) = window.into_parts();
        Self::json_part(Part {
            before: "[",
            buffer,
            range,
            after: "]",
        })
    }
}

/// `GET /messages`: messages with a number below `before`, the last `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Exclusive upper bound of `seq`; none means the end of the history.
    pub before: Option<u64>,
    /// Most messages to show, 1 to 100.
    pub limit: u64,
}

impl PageRequest {
    const DEFAULT_LIMIT: u64 = 10;
    const MOST: u64 = 100;

    /// Reads the part of the URL after the question mark.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a parameter is unknown, given twice or not a number; [`Error::OutsideLimit`] if `limit`
    /// is not within 1 to 100.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let (mut before, mut limit) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match name {
                "before" => &mut before,
                "limit" => &mut limit,
                _ => {
                    return Err(Error::Malformed(
                        "The query takes `before` and `limit` only.".to_owned(),
                    ));
                }
            };
            if place.is_some() {
                return Err(Error::Malformed(format!("`{name}` is given twice.")));
            }
            *place = Some(parse_number(name, value)?);
        }
        let limit = limit.unwrap_or(Self::DEFAULT_LIMIT);
        if !(1..=Self::MOST).contains(&limit) {
            return Err(Error::OutsideLimit(format!(
                "`limit` is {limit}. It takes 1 to {}.",
                Self::MOST
            )));
        }
        Ok(Self { before, limit })
    }
}

fn parse_number(name: &str, value: &str) -> Result<u64, Error> {
    // `parse` alone would take a sign.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(Error::Malformed(format!(
            "`{name}` is not a whole number up to {}.",
            u64::MAX
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_request_takes_the_limits_at_n_and_refuses_them_at_n_plus_1() {
        let parse = PageRequest::parse;
        assert_eq!(
            parse(""),
            Ok(PageRequest {
                before: None,
                limit: 10
            })
        );
        assert_eq!(
            parse("before=7&limit=100"),
            Ok(PageRequest {
                before: Some(7),
                limit: 100
            })
        );
        assert_eq!(
            parse("limit=1"),
            Ok(PageRequest {
                before: None,
                limit: 1
            })
        );
        for outside in ["limit=0", "limit=101"] {
            assert!(
                matches!(parse(outside), Err(Error::OutsideLimit(_))),
                "{outside}"
            );
        }
        for malformed in [
            "limit",
            "limit=",
            "limit=+1",
            "limit=x",
            "limit=1&limit=1",
            "before=-1",
            "after=1",
        ] {
            assert!(
                matches!(parse(malformed), Err(Error::Malformed(_))),
                "{malformed}"
            );
        }
        assert!(parse("before=18446744073709551615").is_ok());
        assert!(parse("before=18446744073709551616").is_err());
    }
}
