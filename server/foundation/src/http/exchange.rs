//! A request that waits for its response.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tiny_http::{HTTPVersion, Method, Request};
use uuid::Uuid;

use crate::telemetry::Reporter;

use super::fields;
use super::problem::Problem;
use super::request::{self, Content, path_and_query};
use super::response::Response;
use super::response_queue::{Afterwards, InFlight};
use super::upgrade::{SWITCHING_PROTOCOLS, Upgraded};

/// A request that waits for its response. Dropped without one, it answers 500.
pub struct Exchange {
    pub(super) open: Option<Box<InFlight>>,
}

impl Exchange {
    /// Answers, from any thread and without blocking.
    pub fn answer(mut self, response: impl Into<Response>) {
        if let Some(open) = self.take() {
            submit(open, response.into());
        }
    }

    /// Answers 101, and calls `afterwards` with the connection, which from then on speaks `protocol` (RFC 9110, section 7.8).
    /// `afterwards` must not block for long, and is not called if the client is gone. Only for a request with `Connection:
    /// upgrade`: behind any other, the next request may be read already. Control characters in `headers` are removed.
    pub fn upgrade(
        mut self,
        protocol: &'static str,
        mut headers: Vec<(&'static str, String)>,
        afterwards: impl FnOnce(Upgraded) + Send + 'static,
    ) {
        let connection = self.connection();
        headers.push(("Server", self.open().responses.program.to_owned()));
        self.open_mut().afterwards = Afterwards::Upgrade(Box::new(move |request| {
            Upgraded::answer(request, connection, protocol, headers).map(afterwards)
        }));
        self.answer(Response::empty(SWITCHING_PROTOCOLS));
    }

    /// Whether the request may upgrade to another protocol: a `GET` in HTTP/1.1 (RFC 9110, section 7.8; RFC 6455, section 4.1).
    #[must_use]
    pub fn may_upgrade(&self) -> bool {
        let request = self.request();
        *request.method() == Method::Get && *request.http_version() == HTTPVersion(1, 1)
    }

    /// The segment of the path at `{name}` in the endpoint's pattern, percent-decoded.
    ///
    /// # Errors
    /// 400 if the decoded segment is not UTF-8.
    ///
    /// # Panics
    /// If the pattern has no such name.
    pub fn parameter(&self, name: &str) -> Result<Cow<'_, str>, Problem> {
        let mut parameters = self.open().parameters.iter();
        let segment = parameters.find(|(known, _)| known == name);
        let (_, segment) = segment.expect("the handler knows the pattern of its endpoint");
        percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_where| Problem::new(400, format!("`{name}` in the path is not UTF-8.")))
    }

    /// The query, deserialized: each parameter once, decoded.
    ///
    /// # Errors
    /// 400 if it is not of this type.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let cause =
            |cause| Problem::new(400, format!("The query is not what this takes: {cause}."));
        let (_path, query) = path_and_query(self.request().url());
        fields::parse_fields(query.as_bytes()).map_err(cause)
    }

    /// The values of all headers of this name, in whatever case.
    pub fn headers(&self, name: &'static str) -> impl Iterator<Item = &str> {
        request::headers(self.request(), name)
    }

    /// The `Idempotency-Key`, which identifies a repeated request: a hyphenated UUID, with or without quotes.
    ///
    /// # Errors
    /// 400 if it is something else, or there are several.
    pub fn idempotency_key(&self) -> Result<Option<Uuid>, Problem> {
        let mut keys = self.headers("Idempotency-Key");
        match (keys.next(), keys.next()) {
            (None, _) => Ok(None),
            (Some(key), None) => request::parse_key(key).map(Some),
            (Some(_), Some(_)) => Err(Problem::new(400, "Send one `Idempotency-Key`.")),
        }
    }

    /// Takes the body of a request with JSON, or without `Content-Type`. Once; afterwards it is empty.
    ///
    /// # Errors
    /// 413 if it is too large, 400 if it did not come as a whole, 415 if its `Content-Type` is another.
    pub fn json_body(&self) -> Result<Vec<u8>, Problem> {
        let body = self.open().body.replace(Ok(Vec::new()))?;
        request::check_content(self.request(), Content::Json)?;
        Ok(body)
    }

    /// The body, deserialized from a JSON object.
    ///
    /// # Errors
    /// As [`Self::json_body`]; 400 if it is no JSON object of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let cause = |cause| Problem::new(400, format!("The body is not what this takes: {cause}."));
        fields::parse_object(&self.json_body()?).map_err(cause)
    }

    /// The body, deserialized from an HTML form: each field once, decoded.
    ///
    /// # Errors
    /// 413 if it is too large, 400 if it did not come as a whole or is not of this type, 415 if it is no form.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = self.open().body.replace(Ok(Vec::new()))?;
        request::check_content(self.request(), Content::Form)?;
        let cause = |cause| Problem::new(400, format!("The form is not what this takes: {cause}."));
        fields::parse_fields(&body).map_err(cause)
    }

    /// When the request was complete, with its body if that was waited for.
    #[must_use]
    pub fn received(&self) -> Instant {
        self.open().received
    }

    /// The address of the peer: the client, or a proxy.
    #[must_use]
    pub fn connection(&self) -> SocketAddr {
        self.open().connection
    }

    /// When the time of the request is over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.received() + self.open().responses.options.request_timeout
    }

    /// Sets the id of what the request stores, for the log.
    pub fn set_resource(&mut self, id: Uuid) {
        self.open_mut().resource = Some(id);
    }

    /// Refuses a request without reading its body, and asks the client to close the connection.
    pub(super) fn refuse(mut self, problem: Problem) {
        if request::is_in_memory(self.request()) {
            self.close_after();
        } else {
            self.end_connection();
        }
        self.answer(problem);
    }

    /// Serves nothing that follows on its connection, and has that closed after the response.
    pub(super) fn end_connection(&mut self) {
        let open = self.open_mut();
        open.responses
            .pipelines
            .give_up(open.connection, Instant::now());
        open.afterwards = Afterwards::End;
    }

    /// Counts the request in `being_read` until its body is read, or it is answered.
    pub(super) fn wait_for_body(&mut self, being_read: &Arc<()>) {
        self.open_mut().being_read = Some(Arc::clone(being_read));
    }

    /// Reads the body, and keeps it for the handler. Begins no read after the deadline, which counts anew from the end of the
    /// body.
    pub(super) fn read_body(&mut self, limit: usize) {
        // Dropped at the end, also by a panic.
        let waited_for = self.open_mut().being_read.take();
        let deadline = self.deadline();
        let body = request::read_body(&mut self.open_mut().request, limit, deadline);
        if body.is_err() {
            // Part of the body is still on its way, or its end is not known.
            self.end_connection();
        }
        let open = self.open_mut();
        open.body.set(body);
        if waited_for.is_some() {
            open.received = Instant::now();
        }
    }

    /// Has the response ask the client to close the connection, unless that is closed or upgraded anyway.
    pub(super) fn close_after(&mut self) {
        let afterwards = &mut self.open_mut().afterwards;
        if matches!(afterwards, Afterwards::AsTheClientAsks) {
            *afterwards = Afterwards::Close;
        }
    }

    /// Takes the request out to be answered, without its body. It no longer counts as one whose body is on its way.
    fn take(&mut self) -> Option<Box<InFlight>> {
        let mut open = self.open.take()?;
        open.being_read = None;
        open.body.set(Ok(Vec::new()));
        Some(open)
    }

    pub(super) fn request(&self) -> &Request {
        &self.open().request
    }

    fn open(&self) -> &InFlight {
        self.open
            .as_ref()
            .expect("it is taken by what ends the exchange alone: its answer, or its drop")
    }

    fn open_mut(&mut self) -> &mut InFlight {
        self.open
            .as_mut()
            .expect("it is taken by what ends the exchange alone: its answer, or its drop")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        static REPORTER: Reporter = Reporter::new();
        let Some(open) = self.take() else {
            return;
        };
        let incident = REPORTER.report(|incident| {
            tracing::error!(instance = %incident, "a request was dropped without an answer");
        });
        let problem = Problem::new(
            500,
            "The server failed on this request. The operator finds the cause in the log.",
        );
        submit(open, problem.with_incident(incident).into());
    }
}

fn submit(open: Box<InFlight>, response: Response) {
    let responses = Arc::clone(&open.responses);
    responses.repliers.submit((open, response));
}

/// Answers several exchanges at once, which is cheaper than one by one.
pub fn answer_all<A: Into<Response>>(answers: impl IntoIterator<Item = (Exchange, A)>) {
    let take = |(mut exchange, answer): (Exchange, A)| Some((exchange.take()?, answer.into()));
    let answers: Vec<_> = answers.into_iter().filter_map(take).collect();
    if let Some((first, _)) = answers.first() {
        let responses = Arc::clone(&first.responses);
        responses.repliers.submit_all(answers);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use clap::Parser;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use tiny_http::TestRequest;

    use super::*;
    use crate::http::HttpArgs;
    use crate::http::metrics::EdgeMetrics;
    use crate::http::response_queue::ResponseQueue;
    use crate::http::router;
    use crate::telemetry::{Program, Registry};

    type End = fn(Exchange);

    const FORM: &str = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";

    fn responses() -> Arc<ResponseQueue> {
        let registry = Registry::new(Program::new("test", ""));
        let labels = router::labels::<()>(&[]);
        let metrics = Arc::new(EdgeMetrics::new(&registry, labels));
        ResponseQueue::new(HttpArgs::parse_from(["test"]), metrics, "test")
    }

    fn exchange(request: TestRequest) -> Exchange {
        let arrived = Instant::now();
        let open = InFlight {
            request: request.into(),
            connection: SocketAddr::from(([127, 0, 0, 1], 1)),
            arrived,
            received: arrived,
            label: 0,
            parameters: Vec::new(),
            body: Cell::new(Ok(Vec::new())),
            being_read: None,
            afterwards: Afterwards::default(),
            resource: None,
            responses: responses(),
        };
        Exchange {
            open: Some(Box::new(open)),
        }
    }

    fn with_body(body: &'static str, header: &str) -> Exchange {
        let header = header.parse().expect("it is a header");
        let mut exchange = exchange(TestRequest::new().with_body(body).with_header(header));
        exchange.read_body(body.len());
        exchange
    }

    #[test]
    fn a_query_and_a_form_are_read_by_type_each_field_once() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            name: String,
            limit: Option<u8>,
        }
        for (text, read) in [
            (
                "name=Zo%C3%AB+%26+co&limit=7",
                Some(("Zo\u{eb} & co", Some(7))),
            ),
            ("name=", Some(("", None))),
            ("limit=7", None),
            ("name=a&name=b", None),
            ("name=a&other=b", None),
            ("name=a&limit=256", None),
        ] {
            let read = read.map(|(name, limit)| Fields {
                name: name.to_owned(),
                limit,
            });
            let query = exchange(TestRequest::new().with_path(&format!("/x?{text}")));
            assert_eq!(query.parameters::<Fields>().ok(), read, "{text}");
            assert_eq!(with_body(text, FORM).form::<Fields>().ok(), read, "{text}");
        }
        let json = with_body("name=a", "Content-Type: application/json");
        let status = json.form::<Fields>().map_err(|problem| problem.status());
        assert_eq!(status, Err(415));
    }

    #[test]
    fn closing_after_the_answer_does_not_replace_the_end_of_a_connection() {
        let mut exchange = exchange(TestRequest::new().with_body("too long"));
        exchange.read_body(3);
        exchange.close_after();
        assert!(matches!(exchange.open().afterwards, Afterwards::End));
    }

    #[test]
    fn a_request_counts_as_being_read_until_reading_ends_in_any_way() {
        let count = Arc::new(());
        let being_read = || {
            let mut exchange = exchange(TestRequest::new());
            exchange.wait_for_body(&count);
            assert_eq!(Arc::strong_count(&count), 2);
            exchange
        };
        let ends: [(&str, End); 4] = [
            ("it is read", |mut exchange| {
                exchange.read_body(0);
                std::mem::forget(exchange);
            }),
            ("it is answered unread", |exchange| {
                exchange.answer(Response::json(&"up"));
            }),
            ("it is dropped", drop),
            ("its thread panics", |_exchange| {
                panic!("while the body is read")
            }),
        ];
        for (how, end) in ends {
            let exchange = being_read();
            let _panic = catch_unwind(AssertUnwindSafe(|| end(exchange)));
            assert_eq!(Arc::strong_count(&count), 1, "{how}");
        }
    }
}
