//! What the log tells of each request.

use std::time::Duration;

use tracing::{Level, field};

use super::exchange::InFlight;
use super::request;
use super::response::Response;

/// Characters of a path or a header that are shown.
const MOST_SHOWN: usize = 128;

/// What logs the answer to a request: nothing of the message's text, and nothing of the query. None unless the log is asked
/// for each request.
pub(super) fn if_wanted(open: &InFlight) -> Option<impl FnOnce(&Response, Duration, bool) + use<>> {
    if !tracing::enabled!(Level::DEBUG) {
        return None;
    }
    let clip = |text: &str| text.chars().take(MOST_SHOWN).collect::<String>();
    let method = clip(open.request.method().as_str());
    let path = clip(open.request.url().split('?').next().unwrap_or_default());
    // By which clients and proxies find a request again.
    let id = request::headers(&open.request, "X-Request-Id").next();
    let fit = |id: &&str| id.len() <= MOST_SHOWN && id.bytes().all(|byte| byte.is_ascii_graphic());
    let request_id = id.filter(fit).map(str::to_owned);
    let (peer, resource) = (open.connection, open.resource);
    Some(move |answer: &Response, took: Duration, delivered: bool| {
        tracing::debug!(
            %peer,
            method,
            path,
            status = answer.status,
            duration_ms = took.as_secs_f64() * 1000.0,
            delivered,
            resource_id = resource.map(field::display),
            request_id,
            instance = answer.incident.map(field::display),
            "request"
        );
    })
}
