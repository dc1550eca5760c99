//! What is counted and timed, for `GET /metrics`: each metric once, with its name and meaning.
//!
//! To record is a few atomic additions, without a lock and without an allocation, but for an unusual status; all label values
//! are our own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::message::Post;
use crate::numbering::{Fate, Ledger, Numbered};
use crate::store::Trouble;
use crate::{BUILD, VERSION};

/// Stands before each name.
const PREFIX: &str = "dummy_messenger";
/// The media type of what [`Metrics::render`] gives.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds, for what takes from half a millisecond to the time-outs.
const REQUEST_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0,
];
/// Seconds, for one round trip to the database.
const DATABASE_SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
const MESSAGES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

const VALID: &str = "names and labels are constants of this file, and each is registered once";

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    /// What callers see.
    pub edge: EdgeMetrics,
    /// How messages are stored.
    pub writer: WriterMetrics,
    /// Connections to the database.
    pub database: DatabaseMetrics,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let build = gauges(
            &registry,
            "build_info",
            "Always 1; the labels tell which build this is",
            &["version", "build"],
        );
        build.with_label_values(&[VERSION, BUILD]).set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect(VALID);
        Arc::new(Self {
            edge: EdgeMetrics::new(&registry),
            writer: WriterMetrics::new(&registry),
            database: DatabaseMetrics::new(&registry),
            registry,
        })
    }

    /// All of them, as Prometheus reads them.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("memory takes all that is written to it, and no family is empty");
        text
    }
}

/// What a request asks for, as it is counted. There are few of them, whatever callers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names and labels say it")]
pub enum Endpoint {
    PostMessage,
    Page,
    Health,
    Ready,
    Metrics,
    /// Unknown paths, and methods that a path does not take.
    Other,
}

impl Endpoint {
    const ALL: [Self; 6] = [
        Self::PostMessage,
        Self::Page,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Other,
    ];

    /// Method and route. HEAD counts as GET.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Self::PostMessage => ["POST", "/messages"],
            Self::Page => ["GET", "/messages"],
            Self::Health => ["GET", "/healthz"],
            Self::Ready => ["GET", "/readyz"],
            Self::Metrics => ["GET", "/metrics"],
            Self::Other => ["other", "other"],
        }
    }

    /// Shown from the beginning, so that an increase from zero is seen. Others are shown once they have occurred.
    fn usual_statuses(self) -> &'static [u16] {
        match self {
            Self::PostMessage => &[200, 400, 413, 415, 422, 500, 503, 504],
            Self::Page => &[200, 400, 422, 503],
            Self::Ready => &[200, 503],
            Self::Health | Self::Metrics => &[200],
            Self::Other => &[404, 405],
        }
    }
}

/// What callers see.
pub struct EdgeMetrics {
    requests: IntCounterVec,
    by_endpoint: [EndpointMetrics; Endpoint::ALL.len()],
    /// Answers that nobody took.
    pub undelivered: IntCounter,
    /// Requests that got no answer.
    pub ignored: IntCounter,
    /// Connections that were not served for want of descriptors or threads.
    pub turned_away: IntCounter,
    connections_abandoned: IntGauge,
    requests_open: IntGauge,
    connections_waiting: IntGauge,
    worker_threads: IntGaugeVec,
    worker_jobs: IntGaugeVec,
}

struct EndpointMetrics {
    usual: Vec<(u16, IntCounter)>,
    duration: Histogram,
}

impl EdgeMetrics {
    fn new(registry: &Registry) -> Self {
        let requests = counters(
            registry,
            "requests_total",
            "Requests answered, by what they asked for and the status of the answer",
            &["method", "route", "status"],
        );
        let durations = histograms(
            registry,
            "request_duration_seconds",
            "From the arrival of a request to its answer handed to the system",
            &["method", "route"],
            REQUEST_SECONDS,
        );
        let by_endpoint = Endpoint::ALL.map(|endpoint| {
            let [method, route] = endpoint.labels();
            let counter = |&status: &u16| {
                let labels = [method, route, &status.to_string()];
                (status, requests.with_label_values(&labels))
            };
            EndpointMetrics {
                usual: endpoint.usual_statuses().iter().map(counter).collect(),
                duration: durations.with_label_values(&[method, route]),
            }
        });
        Self {
            requests,
            by_endpoint,
            undelivered: counter(
                registry,
                "answers_undelivered_total",
                "Answers that could not be written: the caller was gone, or did not read in time",
            ),
            ignored: counter(
                registry,
                "requests_ignored_total",
                "Requests without an answer: they came on a connection that was given up, and whose caller was told",
            ),
            turned_away: counter(
                registry,
                "connections_turned_away_total",
                "Connections for which there were no file descriptors or threads left; they got 503",
            ),
            connections_abandoned: gauge(
                registry,
                "connections_abandoned",
                "Connections that cost a thread and two descriptors until the server is restarted",
            ),
            requests_open: gauge(
                registry,
                "requests_open",
                "Requests that have arrived and are not answered yet",
            ),
            connections_waiting: gauge(
                registry,
                "connections_waiting",
                "Connections with a request that is not answered yet; idle connections are not known",
            ),
            worker_threads: gauges(
                registry,
                "worker_threads",
                "Threads of a pool; they are started as they are needed",
                &["pool"],
            ),
            worker_jobs: gauges(
                registry,
                "worker_jobs_waiting",
                "Jobs that wait for a thread of a pool",
                &["pool"],
            ),
        }
    }

    /// A request was answered.
    pub fn answered(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let metrics = &self.by_endpoint[endpoint as usize];
        if let Some((_, counter)) = metrics.usual.iter().find(|(usual, _)| *usual == status) {
            counter.inc();
        } else {
            let [method, route] = endpoint.labels();
            let labels = [method, route, &status.to_string()];
            self.requests.with_label_values(&labels).inc();
        }
        metrics.duration.observe(took.as_secs_f64());
    }

    /// Requests that are not answered yet, and their connections.
    pub fn set_open(&self, requests: usize, connections: usize) {
        self.requests_open.set(size(requests));
        self.connections_waiting.set(size(connections));
    }

    /// Connections that are not given back until the process ends.
    pub fn set_abandoned(&self, connections: usize) {
        self.connections_abandoned.set(size(connections));
    }

    /// The state of a pool of worker threads.
    pub fn set_workers(&self, pool: &str, threads: usize, jobs: usize) {
        self.worker_threads
            .with_label_values(&[pool])
            .set(size(threads));
        self.worker_jobs.with_label_values(&[pool]).set(size(jobs));
    }
}

/// How messages are stored.
pub struct WriterMetrics {
    queue: IntGauge,
    queue_limit: IntGauge,
    batch_messages: Histogram,
    lock_wait: Histogram,
    lock_hold: Histogram,
    commit: Histogram,
    stored: IntCounter,
    repeated: IntCounter,
    /// Refused at the queue's end.
    pub refused_full: IntCounter,
    /// Refused since their time was over.
    pub refused_late: IntCounter,
    failures: Vec<(Trouble, IntCounter)>,
    /// Messages that may be stored or not.
    pub unknown: IntCounter,
    unknown_stored: IntCounter,
    unknown_not_stored: IntCounter,
    /// Of these, those whose callers could not be told.
    pub unknown_given_up: IntCounter,
}

impl WriterMetrics {
    fn new(registry: &Registry) -> Self {
        let refused = counters(
            registry,
            "messages_refused_total",
            "Messages answered with 503 and not stored by this replica: the queue was full, or their time was over (late)",
            &["reason"],
        );
        let failures = counters(
            registry,
            "batch_failures_total",
            "Attempts to store a batch that failed, by cause; all but `refused` are tried again",
            &["cause"],
        );
        let resolved = counters(
            registry,
            "unknown_outcomes_resolved_total",
            "Messages of unknown outcome, by what came of them: found to be stored, found not to be stored and stored \
             anew, or given up with 504 or 500",
            &["as"],
        );
        let failure = |trouble: Trouble| (trouble, failures.with_label_values(&[trouble.name()]));
        Self {
            queue: gauge(
                registry,
                "queue_messages",
                "Messages that wait for the writer",
            ),
            queue_limit: gauge(
                registry,
                "queue_messages_limit",
                "Most messages that may wait for the writer",
            ),
            batch_messages: histogram(
                registry,
                "batch_messages",
                "Messages in one transaction that was committed",
                MESSAGES,
            ),
            lock_wait: histogram(
                registry,
                "lock_wait_seconds",
                "From asking for the lock to holding it and knowing the counters: one round trip and the wait. Of stored batches",
                DATABASE_SECONDS,
            ),
            lock_hold: histogram(
                registry,
                "lock_hold_seconds",
                "From holding the lock to the answer to COMMIT",
                DATABASE_SECONDS,
            ),
            commit: histogram(
                registry,
                "commit_seconds",
                "From sending the rows and COMMIT to the answer, the last part of holding the lock",
                DATABASE_SECONDS,
            ),
            stored: counter(
                registry,
                "messages_stored_total",
                "Messages stored by this replica, without those found after a lost answer",
            ),
            repeated: counter(
                registry,
                "messages_repeated_total",
                "Requests whose Idempotency-Key was stored before, and that were shown the reply of then",
            ),
            refused_full: refused.with_label_values(&["queue_full"]),
            refused_late: refused.with_label_values(&["late"]),
            failures: Trouble::ALL.map(failure).into(),
            unknown: counter(
                registry,
                "unknown_outcomes_total",
                "Messages of which a lost answer of the database left open whether they are stored",
            ),
            unknown_stored: resolved.with_label_values(&["stored"]),
            unknown_not_stored: resolved.with_label_values(&["not_stored"]),
            unknown_given_up: resolved.with_label_values(&["given_up"]),
        }
    }

    /// An attempt to store a batch failed.
    pub fn failed(&self, trouble: Trouble) {
        let counter = self.failures.iter().find(|(each, _)| *each == trouble);
        counter.expect("there is one for each").1.inc();
    }

    /// A batch is stored, now. `times` are those of asking for the lock, getting it, and sending the rows with COMMIT.
    pub fn committed(&self, numbered: &Numbered<'_>, was_unknown: bool, times: [Instant; 3]) {
        let [asked, got, sent] = times;
        self.lock_wait.observe((got - asked).as_secs_f64());
        self.lock_hold.observe(got.elapsed().as_secs_f64());
        self.commit.observe(sent.elapsed().as_secs_f64());
        let messages = u32::try_from(numbered.fates.len()).unwrap_or(u32::MAX);
        self.batch_messages.observe(messages.into());
        self.stored.inc_by(numbered.new.len() as u64);
        // After a lost answer a repeat is a message of this batch, most likely.
        if numbered.repeats() > 0 && !was_unknown {
            let repeat = |fate: &&Fate| matches!(fate, Fate::Repeat(_));
            self.repeated
                .inc_by(numbered.fates.iter().filter(repeat).count() as u64);
        }
    }

    /// Posts of unknown outcome were looked up.
    pub fn resolved<'a>(&self, posts: impl Iterator<Item = &'a Post>, ledger: &Ledger) {
        for post in posts {
            if ledger.found.contains_key(&post.request_id.uuid()) {
                self.unknown_stored.inc();
            } else {
                self.unknown_not_stored.inc();
            }
        }
    }

    /// The state of the queue.
    pub fn set_queue(&self, waiting: usize, limit: usize) {
        self.queue.set(size(waiting));
        self.queue_limit.set(size(limit));
    }
}

/// Connections to the database.
pub struct DatabaseMetrics {
    /// The writer's one connection.
    pub writing: PoolMetrics,
    /// Those for pages and for `/readyz`.
    pub reading: PoolMetrics,
}

/// A pool of connections to the database.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    idle: IntGauge,
    in_use: IntGauge,
    limit: IntGauge,
    /// Connections made.
    pub opened: IntCounter,
    /// Connections that could not be made.
    pub not_opened: IntCounter,
    /// Connections that had to be given up.
    pub lost: IntCounter,
    /// Waiting for a connection of the pool.
    pub wait: Histogram,
    /// Waiting in vain.
    pub timeouts: IntCounter,
}

impl DatabaseMetrics {
    fn new(registry: &Registry) -> Self {
        let connections = gauges(
            registry,
            "database_connections",
            "Open connections to the database, in use or idle",
            &["pool", "state"],
        );
        let limit = gauges(
            registry,
            "database_connections_limit",
            "Most connections that may be open",
            &["pool"],
        );
        let counted = |name, meaning| counters(registry, name, meaning, &["pool"]);
        let opened = counted(
            "database_connections_opened_total",
            "Connections made to the database",
        );
        let not_opened = counted(
            "database_connect_failures_total",
            "Failed attempts to connect to the database",
        );
        let lost = counted(
            "database_connections_lost_total",
            "Connections given up after an error",
        );
        let timeouts = counted(
            "database_connection_timeouts_total",
            "Waits for a connection that were given up",
        );
        let wait = histograms(
            registry,
            "database_connection_wait_seconds",
            "Waiting for a connection, idle or new",
            &["pool"],
            DATABASE_SECONDS,
        );
        let pool = |name: &str| PoolMetrics {
            idle: connections.with_label_values(&[name, "idle"]),
            in_use: connections.with_label_values(&[name, "in_use"]),
            limit: limit.with_label_values(&[name]),
            opened: opened.with_label_values(&[name]),
            not_opened: not_opened.with_label_values(&[name]),
            lost: lost.with_label_values(&[name]),
            wait: wait.with_label_values(&[name]),
            timeouts: timeouts.with_label_values(&[name]),
        };
        Self {
            writing: pool("writing"),
            reading: pool("reading"),
        }
    }
}

impl PoolMetrics {
    /// The state of the pool.
    pub fn set_connections(&self, open: u32, idle: u32, limit: u32) {
        self.idle.set(idle.into());
        self.in_use.set(open.saturating_sub(idle).into());
        self.limit.set(limit.into());
    }
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn counter(registry: &Registry, name: &str, meaning: &str) -> IntCounter {
    register(registry, IntCounter::with_opts(options(name, meaning)))
}

fn counters(registry: &Registry, name: &str, meaning: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(options(name, meaning), labels))
}

fn gauge(registry: &Registry, name: &str, meaning: &str) -> IntGauge {
    register(registry, IntGauge::with_opts(options(name, meaning)))
}

fn gauges(registry: &Registry, name: &str, meaning: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(options(name, meaning), labels))
}

fn histogram(registry: &Registry, name: &str, meaning: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::from(options(name, meaning)).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(options))
}

fn histograms(
    registry: &Registry,
    name: &str,
    meaning: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::from(options(name, meaning)).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels))
}

fn options(name: &str, meaning: &str) -> Opts {
    Opts::new(name, meaning).namespace(PREFIX)
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}
