//! Metrics of the edge.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::{Registry, size};

/// Upper bounds in seconds, from half a millisecond to the time-outs.
const REQUEST_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0,
];

/// The labels of an endpoint's requests.
#[derive(Clone, Copy)]
pub(super) struct Label {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Statuses that are shown from the start.
    pub(super) statuses: &'static [u16],
}

impl Label {
    fn counter(&self, requests: &IntCounterVec, status: u16) -> IntCounter {
        requests.with_label_values(&[self.method, self.path, &status.to_string()])
    }
}

/// All metrics of the edge.
pub(super) struct EdgeMetrics {
    requests: IntCounterVec,
    by_label: Vec<Counted>,
    /// Counts responses that could not be delivered.
    pub(super) undelivered: IntCounter,
    /// Counts requests without a response.
    pub(super) ignored: IntCounter,
    /// Counts connections that were refused for lack of descriptors or threads.
    pub(super) turned_away: IntCounter,
    pub(super) connections_abandoned: IntGauge,
    pub(super) requests_open: IntGauge,
    pub(super) connections_waiting: IntGauge,
    worker_threads: IntGaugeVec,
    worker_jobs: IntGaugeVec,
}

/// The metrics of one endpoint.
struct Counted {
    label: Label,
    usual: Vec<(u16, IntCounter)>,
    duration: Histogram,
}

impl EdgeMetrics {
    /// Registers all metrics, with these labels of requests.
    pub(super) fn new(registry: &Registry, labels: Vec<Label>) -> Self {
        let requests = registry.counters(
            "requests_total",
            "Requests answered, by what they asked for and the status of the answer",
            &["method", "route", "status"],
        );
        let durations = registry.histograms(
            "request_duration_seconds",
            "From the arrival of a request to its answer handed to the system",
            &["method", "route"],
            REQUEST_SECONDS,
        );
        let counted = |label: Label| Counted {
            usual: label
                .statuses
                .iter()
                .map(|&status| (status, label.counter(&requests, status)))
                .collect(),
            duration: durations.with_label_values(&[label.method, label.path]),
            label,
        };
        Self {
            by_label: labels.into_iter().map(counted).collect(),
            requests,
            undelivered: registry.counter(
                "answers_undelivered_total",
                "Answers that could not be written: the client was gone, or did not read in time",
            ),
            ignored: registry.counter(
                "requests_ignored_total",
                "Requests without an answer: they came on a connection that was given up, and whose client was told",
            ),
            turned_away: registry.counter(
                "connections_turned_away_total",
                "Connections for which there were no file descriptors or threads left; they got 503",
            ),
            connections_abandoned: registry.gauge(
                "connections_abandoned",
                "Connections that cost a thread and two descriptors until the server is restarted",
            ),
            requests_open: registry.gauge(
                "requests_open",
                "Requests that have arrived and are not answered yet",
            ),
            connections_waiting: registry.gauge(
                "connections_waiting",
                "Connections with a request that is not answered yet; idle connections are not known",
            ),
            worker_threads: registry.gauges(
                "worker_threads",
                "Threads of a pool; they are started as they are needed",
                &["pool"],
            ),
            worker_jobs: registry.gauges(
                "worker_jobs_waiting",
                "Jobs that wait for a thread of a pool",
                &["pool"],
            ),
        }
    }

    /// Counts a request that was answered.
    pub(super) fn answered(&self, label: usize, status: u16, took: Duration) {
        let counted = &self.by_label[label];
        if let Some((_, counter)) = counted.usual.iter().find(|(usual, _)| *usual == status) {
            counter.inc();
        } else {
            counted.label.counter(&self.requests, status).inc();
        }
        counted.duration.observe(took.as_secs_f64());
    }

    /// Shows the state of a pool of worker threads.
    pub(super) fn set_workers(&self, (pool, threads, jobs): (&str, usize, usize)) {
        self.worker_threads
            .with_label_values(&[pool])
            .set(size(threads));
        self.worker_jobs.with_label_values(&[pool]).set(size(jobs));
    }
}
