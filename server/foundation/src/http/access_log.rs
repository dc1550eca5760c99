//! What the log tells of each request.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{Level, field};
use uuid::Uuid;

use super::in_flight::InFlight;
use super::request;
use super::response::Response;

/// Characters of a path or a header that are shown.
const MOST_SHOWN: usize = 128;

/// A line of the log: nothing of the message's text, and nothing of the query.
pub(super) struct Entry {
    peer: SocketAddr,
    method: String,
    path: String,
    resource: Option<Uuid>,
    /// The client's own name for this request.
    named: Option<String>,
}

impl Entry {
    /// None unless the log is asked for each request.
    pub(super) fn if_wanted(open: &InFlight) -> Option<Self> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let clip = |text: &str| text.chars().take(MOST_SHOWN).collect();
        let path = open.request.url().split('?').next().unwrap_or_default();
        Some(Self {
            peer: open.connection,
            method: clip(open.request.method().as_str()),
            path: clip(path),
            resource: open.resource,
            named: request::client_s_id(&open.request, MOST_SHOWN).map(str::to_owned),
        })
    }

    pub(super) fn log(self, answer: &Response, took: Duration, delivered: bool) {
        tracing::debug!(
            peer = %self.peer,
            method = self.method,
            path = self.path,
            status = answer.status,
            duration_ms = took.as_secs_f64() * 1000.0,
            delivered,
            resource_id = self.resource.map(field::display),
            request_id = self.named,
            instance = answer.incident.map(field::display),
            "request"
        );
    }
}
