//! Problem details: why a request failed (RFC 9457).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::response::{Response, phrase};
use crate::telemetry::Incident;

/// Why a request failed, for its client: what to change, and nothing about the server's internals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "about:blank")]
pub struct Problem {
    /// With the type `about:blank` it is the phrase of the status (section 4.2.1).
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Incident>,
    #[serde(flatten)]
    members: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    /// A problem with this status and detail. One with status 503 also has `Retry-After: 1`.
    #[must_use]
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry = (status == 503).then_some(("Retry-After", Cow::Borrowed("1")));
        Self {
            title: phrase(status),
            status,
            detail: detail.into(),
            instance: None,
            members: BTreeMap::new(),
            headers: retry.into_iter().collect(),
        }
    }

    /// Names the incident, which stands in the log with its cause, as the problem's `instance`.
    #[must_use]
    pub fn with_incident(mut self, incident: impl Into<Option<Incident>>) -> Self {
        self.instance = incident.into();
        self
    }

    /// Adds a header. Control characters in `value` are removed.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a member of its own to the document (RFC 9457, section 3.2).
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(name, value.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let mut response = Self::json(&problem).with_status(problem.status);
        response.content_type = "application/problem+json".into();
        response.incident = problem.instance;
        let headers = problem.headers.into_iter();
        headers.fold(response, |response, (name, value)| {
            response.with_header(name, value)
        })
    }
}

impl<T: Into<Response>, E: Into<Problem>> From<Result<T, E>> for Response {
    fn from(result: Result<T, E>) -> Self {
        result.map_or_else(|error| error.into().into(), T::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_own_members_beside_the_standard_ones() {
        let problem =
            Problem::new(409, "It is not done yet.").with_member("task_status", "pending");
        let [_, body, _] = Response::from(problem).body().map(<[u8]>::to_vec);
        let document: Value = serde_json::from_slice(&body).expect("it is JSON");
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Conflict", "status": 409,
            "detail": "It is not done yet.", "task_status": "pending",
        });
        assert_eq!(document, expected);
    }
}
