//! Metrics of a queue.

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::telemetry::Registry;

/// Upper bounds in seconds, for the work and for the wait before it.
const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The metrics of a queue.
#[derive(Debug, Clone)]
pub(super) struct JobMetrics {
    pub(super) depth: IntGauge,
    pub(super) oldest_seconds: IntGauge,
    pub(super) held: IntGauge,
    pub(super) claimed: IntCounter,
    pub(super) done: IntCounter,
    pub(super) retried: IntCounter,
    pub(super) failed: IntCounter,
    pub(super) leases_lost: IntCounter,
    pub(super) wait_seconds: Histogram,
    pub(super) run_seconds: Histogram,
}

impl JobMetrics {
    /// Registers them, with the name of the queue as a label.
    pub(super) fn new(registry: &Registry, queue: &'static str) -> Self {
        let registry = registry.labelled("queue", queue);
        Self {
            depth: registry.gauge("jobs", "Jobs in the queue, waiting or claimed by whomever"),
            oldest_seconds: registry.gauge(
                "jobs_oldest_seconds",
                "For how long the job that has waited longest could have been claimed",
            ),
            held: registry.gauge("jobs_held", "Jobs that this process has claimed"),
            claimed: registry.counter("jobs_claimed_total", "Claims made by this process"),
            done: registry.counter("jobs_done_total", "Jobs that ended with an outcome"),
            retried: registry.counter("jobs_retried_total", "Attempts that failed, to be repeated"),
            failed: registry.counter("jobs_failed_total", "Jobs that failed for good"),
            leases_lost: registry.counter(
                "jobs_leases_lost_total",
                "Outcomes that were not written, as the claim had been lost or the job cancelled",
            ),
            wait_seconds: registry.histogram(
                "job_wait_seconds",
                "From being enqueued to the first claim",
                SECONDS,
            ),
            run_seconds: registry.histogram("job_run_seconds", "Work on one job", SECONDS),
        }
    }
}
