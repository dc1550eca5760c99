//! What is counted and timed of sockets and messages.

use std::sync::Arc;

use foundation::http::Problem;
use foundation::mysql::DATABASE_SECONDS;
use foundation::telemetry::{Registry, Reporter, size};
use prometheus::{Histogram, IntCounter, IntGauge};

use super::MAX_SOCKETS;

/// What is counted and timed.
pub(super) struct WebMetrics {
    /// Messages of clients, and notices, that this process has stored.
    pub(super) stored: IntCounter,
    /// Frames that show messages, written to sockets that were in a room.
    pub(super) sent: IntCounter,
    pub(super) store_seconds: Histogram,
    /// Minutes that this process has greeted, whether it or another stored that.
    pub(super) greetings: IntCounter,
    sockets: IntGauge,
    waiting: IntGauge,
    /// Has one owner more for each socket.
    open: Counted,
    full: Reporter,
}

/// Counts a socket until it is dropped.
pub(super) type Counted = Arc<()>;

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
            open: Counted::default(),
            full: Reporter::default(),
        }
    }

    /// Counts a socket, if there may be one more.
    pub(super) fn count_socket(&self) -> Result<Counted, Problem> {
        let counted = Arc::clone(&self.open);
        if Arc::strong_count(&self.open) - 1 <= MAX_SOCKETS {
            return Ok(counted);
        }
        let incident = self.full.report(|incident| {
            tracing::warn!(instance = %incident, "refusing sockets: there are as many as there may be");
        });
        Err(
            Problem::new(503, "There are too many sockets here. Try again later.")
                .with_incident(incident),
        )
    }

    /// Brings the gauges up to date.
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
