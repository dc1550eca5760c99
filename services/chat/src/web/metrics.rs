//! Metrics of sockets and messages.

use std::sync::Arc;

use foundation::http::Problem;
use foundation::mysql::DATABASE_SECONDS;
use foundation::telemetry::{Registry, Reporter, size};
use prometheus::{Histogram, IntCounter, IntGauge};

use super::MAX_SOCKETS;

/// The metrics of the web process.
pub(super) struct WebMetrics {
    /// Messages of clients, and notices, that this process has stored.
    pub(super) stored: IntCounter,
    /// Frames with messages, sent to sockets in a room. History is not counted.
    pub(super) sent: IntCounter,
    pub(super) store_seconds: Histogram,
    /// Minutes that this process has greeted, whether it or another process stored the greeting.
    pub(super) greetings: IntCounter,
    sockets: IntGauge,
    waiting: IntGauge,
    /// Has one more reference for each socket.
    open: CountGuard,
    full: Reporter,
}

/// Counts a socket until it is dropped.
pub(super) type CountGuard = Arc<()>;

impl WebMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let limit = registry.gauge("sockets_limit", "Most sockets of this process");
        limit.set(size(MAX_SOCKETS));
        Self {
            stored: registry.counter("messages_stored_total", "Messages stored by this process"),
            sent: registry.counter("frames_sent_total", "Messages shown on sockets"),
            store_seconds: registry.histogram(
                "store_seconds",
                "Storing the messages of one transaction",
                DATABASE_SECONDS,
            ),
            greetings: registry.counter(
                "greetings_total",
                "Minutes greeted by this process, whether it or another stored that",
            ),
            sockets: registry.gauge("sockets", "Open sockets"),
            waiting: registry.gauge("messages_waiting", "Messages that wait for the database"),
            open: CountGuard::default(),
            full: Reporter::default(),
        }
    }

    /// Counts a socket, unless the limit is reached.
    pub(super) fn count_socket(&self) -> Result<CountGuard, Problem> {
        let guard = Arc::clone(&self.open);
        if Arc::strong_count(&self.open) - 1 <= MAX_SOCKETS {
            return Ok(guard);
        }
        let incident = self.full.report(|incident| {
            tracing::warn!(instance = %incident, "refusing sockets: there are as many as there may be");
        });
        Err(
            Problem::new(503, "There are too many sockets here. Try again later.")
                .with_incident(incident),
        )
    }

    /// Updates the gauges.
    pub(super) fn observe(&self, sockets: usize, waiting: usize) {
        self.sockets.set(size(sockets));
        self.waiting.set(size(waiting));
    }
}

#[cfg(test)]
mod tests {
    use foundation::telemetry::Program;

    use super::*;

    #[test]
    fn one_socket_more_than_there_may_be_is_refused_until_another_is_gone() {
        let metrics = WebMetrics::new(&Registry::new(Program::new("test", "")));
        let mut sockets: Vec<_> = (0..MAX_SOCKETS).map(|_| metrics.count_socket()).collect();
        assert!(sockets.iter().all(Result::is_ok));
        let refused = metrics.count_socket().err();
        assert_eq!(refused.map(|problem| problem.status()), Some(503));
        sockets.pop();
        assert!(metrics.count_socket().is_ok());
    }
}
