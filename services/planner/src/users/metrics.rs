//! What is counted of the users' service, for `GET /metrics`.

use foundation::telemetry::Registry;
use prometheus::{IntCounter, IntGauge};

/// What is counted of the cache.
pub struct CacheMetrics {
    /// Users shown from memory.
    pub hits: IntCounter,
    /// Users that were not in memory.
    pub misses: IntCounter,
    /// Users that were not looked for in memory, as it might have been too old.
    pub bypassed: IntCounter,
    /// Statements that read users.
    pub loads: IntCounter,
    /// What the cache may be behind the database now, in milliseconds.
    pub behind_ms: IntGauge,
    /// Users in memory.
    pub entries: IntGauge,
}

impl CacheMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let lookups = registry.counters(
            "cache_lookups_total",
            "Users asked for: shown from memory (hit), not there (miss), or not looked for, as what is there may be too old (bypassed)",
            &["result"],
        );
        Self {
            hits: lookups.with_label_values(&["hit"]),
            misses: lookups.with_label_values(&["miss"]),
            bypassed: lookups.with_label_values(&["bypassed"]),
            loads: registry.counter(
                "cache_loads_total",
                "Statements that read users; one answers all that wait",
            ),
            behind_ms: registry.gauge(
                "cache_behind_milliseconds",
                "How old what the cache shows may be now: since the last look at what others changed began. Past the bound \
                 the cache is bypassed",
            ),
            entries: registry.gauge("cache_entries", "Users in memory, about"),
        }
    }
}
