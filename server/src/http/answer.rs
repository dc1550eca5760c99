//! Answers, and their bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::response_budget::{Held, ResponseBudget};
use crate::error::Error;
use crate::incident::Incident;
use crate::message::{Message, Window};
use crate::metrics;
use crate::{BUILD, VERSION};

const JSON: &str = "application/json";
/// RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// The contract. Tests compare it with what is served.
const CONTRACT: &str = include_str!("openapi.json");

/// What is sent back.
#[derive(Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Body,
    pub(super) allow: Option<&'static str>,
    /// The codings that a body may have (RFC 9110, section 15.5.16).
    pub(super) accept_encoding: Option<&'static str>,
    pub(super) retry_after: Option<Duration>,
    pub(super) incident: Option<Incident>,
    /// Of a page: its bytes count as long as the answer lives.
    #[expect(dead_code, reason = "it works by being dropped")]
    pub(super) held: Option<Held>,
}

#[derive(Debug)]
pub(super) enum Body {
    Owned(Vec<u8>),
    Static(&'static str),
    Window(Window),
}

/// RFC 9457, section 3.1. With the type `about:blank` the title is the phrase of the status, by section 4.2.1.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    build: &'static str,
}

impl Answer {
    fn ok(body: Body) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            body,
            allow: None,
            accept_encoding: None,
            retry_after: None,
            incident: None,
            held: None,
        }
    }

    /// Counts its bytes as unread until it is written: here, and in the copy that is written.
    pub(super) fn held_by(self, unread: &ResponseBudget) -> Self {
        let length: usize = self.body().iter().map(|part| part.len()).sum();
        Self {
            held: Some(unread.hold(2 * length)),
            ..self
        }
    }

    /// 200: the process serves, and this is its build.
    pub(super) fn up() -> Self {
        Self::ok(Body::Owned(to_json(&Health {
            status: "up",
            version: VERSION,
            build: BUILD,
        })))
    }

    /// 200: the database takes writes.
    pub(super) fn ready() -> Self {
        Self::ok(Body::Owned(to_json(&Status { status: "ready" })))
    }

    /// 200 with the contract as `OpenAPI` 3.1.
    pub(super) fn contract() -> Self {
        Self::ok(Body::Static(CONTRACT))
    }

    /// 200 with metrics.
    pub(super) fn metrics(text: Vec<u8>) -> Self {
        Self {
            content_type: metrics::TEXT_FORMAT,
            ..Self::ok(Body::Owned(text))
        }
    }
}

impl From<Window> for Answer {
    fn from(window: Window) -> Self {
        Self::ok(Body::Window(window))
    }
}

impl From<Vec<Message<'_>>> for Answer {
    fn from(messages: Vec<Message<'_>>) -> Self {
        Self::ok(Body::Owned(to_json(&messages)))
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let status = error.status();
        let detail = error.to_string();
        let problem = Problem {
            r#type: "about:blank",
            title: phrase(status),
            status,
            detail: &detail,
            instance: error.incident().map(|incident| incident.to_string()),
        };
        Self {
            status,
            content_type: PROBLEM,
            body: Body::Owned(to_json(&problem)),
            allow: match error {
                Error::MethodNotAllowed(allowed) => Some(allowed),
                _ => None,
            },
            accept_encoding: matches!(error, Error::Encoded).then_some("identity"),
            retry_after: error.retry_after(),
            incident: error.incident(),
            held: None,
        }
    }
}

impl<T: Into<Self>> From<Result<T, Error>> for Answer {
    fn from(result: Result<T, Error>) -> Self {
        result.map_or_else(Self::from, T::into)
    }
}

/// What the answer says of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// As HTTP/1.1 has it by default.
    Unsaid,
    /// An HTTP/1.0 caller asked for it.
    KeepAlive,
    /// The caller asked for it, or the server stops.
    Close,
}

impl Answer {
    pub(super) fn body(&self) -> [&[u8]; 3] {
        match &self.body {
            Body::Owned(bytes) => [&[], bytes, &[]],
            Body::Static(text) => [&[], text.as_bytes(), &[]],
            Body::Window(window) => [b"[", window.messages(), b"]"],
        }
    }

    /// The whole response in one piece, so that it leaves in one write.
    pub(super) fn render(&self, head_only: bool, connection: Connection, date: &str) -> Vec<u8> {
        let status = self.status;
        let head = format!(
            "HTTP/1.1 {status} {}\r\nDate: {date}\r\n{}\r\n\r\n",
            phrase(status),
            self.headers(connection)
        );
        let mut bytes = head.into_bytes();
        if !head_only {
            let body = self.body();
            bytes.reserve_exact(body.iter().map(|part| part.len()).sum());
            bytes.extend(body.into_iter().flatten());
        }
        bytes
    }

    /// The headers that depend on the answer, without a line end behind the last.
    pub(super) fn headers(&self, connection: Connection) -> String {
        let length: usize = self.body().iter().map(|part| part.len()).sum();
        let mut headers = format!(
            "Content-Type: {}\r\nContent-Length: {length}",
            self.content_type
        );
        if let Some(allow) = self.allow {
            headers.extend(["\r\nAllow: ", allow]);
        }
        if let Some(codings) = self.accept_encoding {
            headers.extend(["\r\nAccept-Encoding: ", codings]);
        }
        if let Some(pause) = self.retry_after {
            headers.extend(["\r\nRetry-After: ", &pause.as_secs().to_string()]);
        }
        headers.push_str(match connection {
            Connection::Unsaid => "",
            Connection::KeepAlive => "\r\nConnection: keep-alive",
            Connection::Close => "\r\nConnection: close",
        });
        headers
    }
}

fn phrase(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have no map keys and no fallible field")
}

/// The value of the `Date` header (RFC 9110, section 6.6.1), formatted once a second.
pub(super) struct Clock {
    shown: Mutex<(u64, Arc<str>)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            shown: Mutex::new((0, httpdate::fmt_http_date(UNIX_EPOCH).into())),
        }
    }

    pub(super) fn date(&self) -> Arc<str> {
        let now = SystemTime::now();
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.0 != second {
            *shown = (second, httpdate::fmt_http_date(now).into());
        }
        Arc::clone(&shown.1)
    }
}
