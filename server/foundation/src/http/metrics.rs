//! What the edge counts.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::{Registry, size};

/// Seconds, for what takes from half a millisecond to the time-outs.
const REQUEST_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0,
];

/// How requests for an endpoint are counted.
pub(super) struct Label {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Statuses that are shown from the beginning.
    pub(super) statuses: &'static [u16],
}

/// What clients see.
pub(super) struct EdgeMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    by_label: OnceLock<Vec<Counted>>,
    /// Counts responses that nobody took.
    pub(super) undelivered: IntCounter,
    /// Counts requests that got no response.
    pub(super) ignored: IntCounter,
    /// Counts connections that were not served for want of descriptors or threads.
    pub(super) turned_away: IntCounter,
    pub(super) connections_abandoned: IntGauge,
    pub(super) requests_open: IntGauge,
    pub(super) connections_waiting: IntGauge,
    worker_threads: IntGaugeVec,
    worker_jobs: IntGaugeVec,
}

/// What is counted of one endpoint.
struct Counted {
    method: &'static str,
    path: &'static str,
    usual: Vec<(u16, IntCounter)>,
    duration: Histogram,
}

impl EdgeMetrics {
    /// Registers all metrics of an edge.
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                "requests_total",
                "Requests answered, by what they asked for and the status of the answer",
                &["method", "route", "status"],
            ),
            durations: registry.histograms(
                "request_duration_seconds",
                "From the arrival of a request to its answer handed to the system",
                &["method", "route"],
                REQUEST_SECONDS,
            ),
            by_label: OnceLock::new(),
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

    /// Counts requests by these labels from now on. Only the first call has an effect.
    pub(super) fn count_by(&self, labels: &[Label]) {
        self.by_label
            .get_or_init(|| labels.iter().map(|label| self.of(label)).collect());
    }

    fn of(&self, label: &Label) -> Counted {
        let &Label {
            method,
            path,
            statuses,
        } = label;
        let counter = |&status: &u16| {
            let labels = [method, path, &status.to_string()];
            (status, self.requests.with_label_values(&labels))
        };
        Counted {
            method,
            path,
            usual: statuses.iter().map(counter).collect(),
            duration: self.durations.with_label_values(&[method, path]),
        }
    }

    /// A request was answered.
    pub(super) fn answered(&self, label: usize, status: u16, took: Duration) {
        let Some(counted) = self.by_label.get().and_then(|all| all.get(label)) else {
            return;
        };
        if let Some((_, counter)) = counted.usual.iter().find(|(usual, _)| *usual == status) {
            counter.inc();
        } else {
            let labels = [counted.method, counted.path, &status.to_string()];
            self.requests.with_label_values(&labels).inc();
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
