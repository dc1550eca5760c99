//! Incidents: ids that the log and responses have in common.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

/// A cause that affects many requests is logged once in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The id of one occurrence of a problem. It is in the log line of the cause, and as `instance` (RFC 9457, section 3.1.5) in
/// every response that was caused by it, so that the operator finds the cause of what a client reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Incident(#[serde(with = "uuid::serde::urn")] Uuid);

impl Incident {
    /// A new id.
    #[must_use]
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.urn().fmt(to)
    }
}

/// Rate-limits the log line of a cause that may affect many requests: one line a second, and one incident for all of them.
#[derive(Debug, Default)]
pub struct Reporter {
    last: Mutex<Option<(Instant, Incident)>>,
}

impl Reporter {
    /// A new reporter. Most are a `static` beside the line that they log.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: Mutex::new(None),
        }
    }

    /// The current incident; if there is none, a new one, with which `log` is called.
    pub fn report(&self, log: impl FnOnce(Incident)) -> Incident {
        let mut last = self.last.lock();
        match *last {
            Some((since, incident)) if since.elapsed() < REPORT_INTERVAL => incident,
            _ => {
                let incident = Incident::draw();
                *last = Some((Instant::now(), incident));
                drop(last);
                log(incident);
                incident
            }
        }
    }
}
