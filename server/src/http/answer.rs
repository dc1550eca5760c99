//! Answers, and their bytes.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::Error;
use crate::message::{Message, Window};

const JSON: &str = "application/json";
/// RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// What is sent back.
#[derive(Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Body,
    pub(super) allow: Option<&'static str>,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Body {
    Owned(Vec<u8>),
    Window(Window),
}

/// RFC 9457, section 3.1. With the type `about:blank` the title is the phrase of the status, by section 4.2.1.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
}

impl Answer {
    fn ok(body: Body) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            body,
            allow: None,
            retry_after: None,
        }
    }

    /// 200 with one word about the server.
    pub(super) fn status(status: &str) -> Self {
        Self::ok(Body::Owned(to_json(&Status { status })))
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
        };
        Self {
            status,
            content_type: PROBLEM,
            body: Body::Owned(to_json(&problem)),
            allow: match error {
                Error::MethodNotAllowed(allowed) => Some(allowed),
                _ => None,
            },
            retry_after: error.retry_after(),
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
            Body::Window(window) => [b"[", window.messages(), b"]"],
        }
    }

    /// The whole response in one piece, so that it leaves in one write.
    pub(super) fn render(&self, head_only: bool, connection: Connection, date: &str) -> Vec<u8> {
        const HEAD_CAPACITY: usize = 256;
        let body = self.body();
        let length: usize = body.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(HEAD_CAPACITY + length);
        self.write_head(&mut bytes, length, connection, date)
            .expect("a Vec takes all that is written to it");
        if !head_only {
            bytes.extend(body.into_iter().flatten());
        }
        bytes
    }

    fn write_head(
        &self,
        to: &mut Vec<u8>,
        length: usize,
        connection: Connection,
        date: &str,
    ) -> std::io::Result<()> {
        let Self {
            status,
            content_type,
            ..
        } = self;
        write!(
            to,
            "HTTP/1.1 {status} {}\r\nDate: {date}\r\n",
            phrase(*status)
        )?;
        write!(
            to,
            "Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
        )?;
        if let Some(allow) = self.allow {
            write!(to, "Allow: {allow}\r\n")?;
        }
        if let Some(pause) = self.retry_after {
            write!(to, "Retry-After: {}\r\n", pause.as_secs())?;
        }
        to.extend_from_slice(match connection {
            Connection::Unsaid => b"\r\n",
            Connection::KeepAlive => b"Connection: keep-alive\r\n\r\n",
            Connection::Close => b"Connection: close\r\n\r\n",
        });
        Ok(())
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
    shown: Mutex<(u64, String)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            shown: Mutex::new((0, String::new())),
        }
    }

    pub(super) fn with_date<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        let now = SystemTime::now();
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.0 != second || shown.1.is_empty() {
            *shown = (second, httpdate::fmt_http_date(now));
        }
        use_it(&shown.1)
    }
}
