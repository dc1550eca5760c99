//! What is counted of the database's connections.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::Registry;

/// Upper bounds in seconds, for one round trip to the database.
pub const DATABASE_SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// The metrics of all pools.
#[derive(Debug, Clone)]
pub(super) struct DatabaseMetrics {
    connections: IntGaugeVec,
    limit: IntGaugeVec,
    opened: IntCounterVec,
    not_opened: IntCounterVec,
    lost: IntCounterVec,
    timeouts: IntCounterVec,
    wait: HistogramVec,
}

/// A pool of connections to the database.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    idle: IntGauge,
    in_use: IntGauge,
    limit: IntGauge,
    /// Connections that are open now; shown as those that are idle and those in use.
    pub open: IntGauge,
    /// Counts connections made.
    pub opened: IntCounter,
    /// Counts connections that could not be made.
    pub not_opened: IntCounter,
    /// Counts connections that had to be given up.
    pub lost: IntCounter,
    /// Times waiting for a connection of the pool.
    pub wait: Histogram,
    /// Counts waits in vain.
    pub timeouts: IntCounter,
}

impl DatabaseMetrics {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, meaning| registry.counters(name, meaning, &["pool"]);
        Self {
            connections: registry.gauges(
                "database_connections",
                "Open connections to the database, in use or idle",
                &["pool", "state"],
            ),
            limit: registry.gauges(
                "database_connections_limit",
                "Most connections that may be open",
                &["pool"],
            ),
            opened: counters(
                "database_connections_opened_total",
                "Connections made to the database",
            ),
            not_opened: counters(
                "database_connect_failures_total",
                "Failed attempts to connect to the database",
            ),
            lost: counters(
                "database_connections_lost_total",
                "Connections given up after an error",
            ),
            timeouts: counters(
                "database_connection_timeouts_total",
                "Waits for a connection that were given up",
            ),
            wait: registry.histograms(
                "database_connection_wait_seconds",
                "Waiting for a connection, idle or new",
                &["pool"],
                DATABASE_SECONDS,
            ),
        }
    }

    /// Those of the pool of this name.
    pub(super) fn of(&self, pool: &str) -> PoolMetrics {
        PoolMetrics {
            idle: self.connections.with_label_values(&[pool, "idle"]),
            in_use: self.connections.with_label_values(&[pool, "in_use"]),
            limit: self.limit.with_label_values(&[pool]),
            open: IntGauge::new("open", "not shown").expect("the name is a constant"),
            opened: self.opened.with_label_values(&[pool]),
            not_opened: self.not_opened.with_label_values(&[pool]),
            lost: self.lost.with_label_values(&[pool]),
            wait: self.wait.with_label_values(&[pool]),
            timeouts: self.timeouts.with_label_values(&[pool]),
        }
    }
}

impl PoolMetrics {
    /// The state of the pool.
    pub fn set_connections(&self, in_use: i64, limit: u8) {
        let open = self.open.get();
        // A place in use may still be without a connection.
        let in_use = in_use.min(open);
        self.in_use.set(in_use);
        self.idle.set(open - in_use);
        self.limit.set(limit.into());
    }
}
