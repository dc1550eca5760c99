//! What an answer and the log have in common: the name of what went wrong.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

/// A cause that many requests meet is logged once in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// One occurrence of a trouble. Stands in the log line of the cause, and as `instance` (RFC 9457, section 3.1.5) in
/// every answer that it led to, so that a client and the operator speak of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Incident(#[serde(with = "uuid::serde::urn")] Uuid);

impl Incident {
    /// A new one.
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

/// Logs a cause that many requests may meet at once: one line a second, whose incident stands for all of them.
#[derive(Debug, Default)]
pub struct Reporter {
    last: Mutex<Option<(Instant, Incident)>>,
}

impl Reporter {
    /// One to whom nothing was reported yet. Most are a `static` beside the line that they log.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: Mutex::new(None),
        }
    }

    /// The incident that is under way; if there is none, a new one, which `log` is called with.
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
