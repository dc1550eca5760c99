//! Metrics of connections to the database.

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::telemetry::Registry;

/// Upper bounds in seconds, for one round trip to the database.
pub const DATABASE_SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// The metrics of a pool of connections.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    idle: IntGauge,
    in_use: IntGauge,
    /// Connections that are open; shown as idle and in use.
    pub open: IntGauge,
    pub(super) opened: IntCounter,
    pub(super) not_opened: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) wait: Histogram,
    pub(super) timeouts: IntCounter,
}

impl PoolMetrics {
    /// Registers them, with the pool's name as a label, and the most connections that it may have.
    pub(crate) fn new(registry: &Registry, pool: &'static str, limit: u8) -> Self {
        let registry = registry.labelled("pool", pool);
        let most = registry.gauge(
            "database_connections_limit",
            "Most connections that may be open",
        );
        most.set(limit.into());
        let connections = registry.gauges(
            "database_connections",
            "Open connections to the database, in use or idle",
            &["state"],
        );
        Self {
            idle: connections.with_label_values(&["idle"]),
            in_use: connections.with_label_values(&["in_use"]),
            open: IntGauge::new("open", "not shown").expect("the name is a constant"),
            opened: registry.counter(
                "database_connections_opened_total",
                "Connections made to the database",
            ),
            not_opened: registry.counter(
                "database_connect_failures_total",
                "Failed attempts to connect to the database",
            ),
            lost: registry.counter(
                "database_connections_lost_total",
                "Connections given up after an error",
            ),
            wait: registry.histogram(
                "database_connection_wait_seconds",
                "Waiting for a connection, idle or new",
                DATABASE_SECONDS,
            ),
            timeouts: registry.counter(
                "database_connection_timeouts_total",
                "Waits for a connection that were given up",
            ),
        }
    }

    /// Sets the gauges.
    pub fn set_connections(&self, in_use: i64) {
        let open = self.open.get();
        // A slot in use may have no connection yet.
        let in_use = in_use.min(open);
        self.in_use.set(in_use);
        self.idle.set(open - in_use);
    }
}
