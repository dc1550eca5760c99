//! Responses, and their bytes.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use httpdate::HttpDate;
use serde::Serialize;

use crate::telemetry::Incident;

pub(super) const JSON: &str = "application/json";

/// The statuses without a body, and so without `Content-Length` (RFC 9110, sections 8.6 and 15.4.5).
const NO_CONTENT: u16 = 204;
const NOT_MODIFIED: u16 = 304;

/// The `Connection` header of a response whose connection is closed.
pub(super) const CLOSE: Option<&str> = Some("close");

/// The capacity for the head, enough for most responses.
const USUAL_HEAD: usize = 256;

const NO_FAILURE: &str = "a String takes all that is written to it";

/// A response: any status, any headers, and a body with its `Content-Type` and `Content-Length`.
pub struct Response {
    pub(super) status: u16,
    pub(super) content_type: Cow<'static, str>,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Part,
    pub(super) incident: Option<Incident>,
    /// Counts the bytes of a blocking handler's response as unread.
    #[expect(dead_code, reason = "it works by being dropped")]
    held: Option<Held>,
}

/// Bytes that are subtracted from a count when this is dropped.
struct Held {
    length: usize,
    unread: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread.fetch_sub(self.length, Ordering::AcqRel);
    }
}

/// Part of a buffer that several responses may share, between two constant strings. As a response it is 200 with JSON.
#[derive(Clone)]
pub struct Part {
    /// Written before the part.
    pub before: &'static str,
    /// The buffer.
    pub buffer: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Which of its bytes are written.
    pub range: Range<usize>,
    /// Written after the part.
    pub after: &'static str,
}

impl Response {
    /// 200 with this body, whose media type is `content_type`.
    #[must_use]
    pub fn bytes(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let body = body.into();
        let part = Part {
            before: "",
            range: 0..body.len(),
            buffer: Arc::new(body),
            after: "",
        };
        Self {
            content_type: content_type.into(),
            ..part.into()
        }
    }

    /// This status, without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::bytes("", &[][..]).with_status(status)
    }

    /// 200 with JSON.
    ///
    /// # Panics
    /// If `value` has map keys that are no strings, or a field that refuses to be serialized: types of a contract do not.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("types of a contract can be serialized");
        Self::bytes(JSON, json)
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Adds a header. Control characters in `value` are removed.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let mut value = value.into();
        if value.contains(char::is_control) {
            value.to_mut().retain(|sign| !sign.is_control());
        }
        self.headers.push((name, value));
        self
    }

    /// Counts its bytes as unread until it is written; twice, because they are copied to be written.
    pub(super) fn held_by(self, unread: &Arc<AtomicUsize>) -> Self {
        let (length, unread) = (2 * self.length(), Arc::clone(unread));
        unread.fetch_add(length, Ordering::AcqRel);
        let held = Some(Held { length, unread });
        Self { held, ..self }
    }

    fn length(&self) -> usize {
        self.body().iter().map(|part| part.len()).sum()
    }
}

impl From<Part> for Response {
    fn from(body: Part) -> Self {
        Self {
            status: 200,
            content_type: JSON.into(),
            headers: Vec::new(),
            body,
            incident: None,
            held: None,
        }
    }
}

impl Response {
    pub(super) fn body(&self) -> [&[u8]; 3] {
        let Part {
            before,
            buffer,
            range,
            after,
        } = &self.body;
        let part = &(**buffer).as_ref()[range.clone()];
        [before.as_bytes(), part, after.as_bytes()]
    }

    /// The whole response as one buffer, so that it is sent by one write; with this `Connection` header, if any.
    pub(super) fn render(&self, head_only: bool, connection: Option<&str>) -> Vec<u8> {
        let mut head = String::with_capacity(USUAL_HEAD);
        let (status, phrase) = (self.status, phrase(self.status));
        let date = HttpDate::from(SystemTime::now());
        write!(head, "HTTP/1.1 {status} {phrase}\r\nDate: {date}\r\n").expect(NO_FAILURE);
        self.push_headers(&mut head, connection);
        head.push_str("\r\n");
        let [before, part, after] = if head_only { [&[][..]; 3] } else { self.body() };
        [head.as_bytes(), before, part, after].concat()
    }

    /// Adds the headers that depend on the response, each with its line end.
    pub(super) fn push_headers(&self, head: &mut String, connection: Option<&str>) {
        if !matches!(self.status, NO_CONTENT | NOT_MODIFIED) {
            write!(head, "Content-Length: {}\r\n", self.length()).expect(NO_FAILURE);
        }
        if !self.content_type.is_empty() {
            head.extend(["Content-Type: ", &self.content_type, "\r\n"]);
        }
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(connection) = connection {
            head.extend(["Connection: ", connection, "\r\n"]);
        }
    }
}

/// The reason phrase of a status (RFC 9110, section 15).
pub(super) fn phrase(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_declares_the_length_of_its_body_if_it_may_have_one() {
        for (response, headers) in [
            (
                Response::bytes("text/plain", &b"hi"[..]),
                "Content-Length: 2\r\nContent-Type: text/plain\r\n",
            ),
            (
                Response::empty(303).with_header("Location", "/x\r\n"),
                "Content-Length: 0\r\nLocation: /x\r\n",
            ),
            (Response::empty(NO_CONTENT), ""),
            (Response::empty(NOT_MODIFIED), ""),
        ] {
            let mut head = String::new();
            response.push_headers(&mut head, None);
            assert_eq!(head, headers);
        }
    }
}
