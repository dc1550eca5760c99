//! The metrics of a program, for `GET /metrics`. Each is registered once, with its name and meaning.
//!
//! Recording is a few atomic additions, without a lock or an allocation. No label value comes from a client.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

/// The media type of what [`Registry::render`] returns.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const VALID: &str = "names and labels are constants, and each is registered once";

/// Name and version of a program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The prefix of each metric, in `snake_case`.
    pub(crate) name: &'static str,
    /// The version of the package.
    pub(crate) version: &'static str,
    /// The commit from which it was built.
    pub(crate) build: &'static str,
}

impl Program {
    /// A program of this name and version, without a known build.
    #[must_use]
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            build: "unknown",
        }
    }

    /// The same program, with this build.
    #[must_use]
    pub const fn built_from(self, build: &'static str) -> Self {
        Self { build, ..self }
    }
}

/// All metrics of a program. A clone is the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    all: Arc<prometheus::Registry>,
    program: Program,
    /// A label of all metrics that are registered through this clone.
    label: Option<(&'static str, &'static str)>,
}

impl Registry {
    /// A registry with the build and, on Linux, metrics of the process.
    ///
    /// # Panics
    /// If the name is no metric's name.
    #[must_use]
    pub fn new(program: Program) -> Self {
        let registry = Self {
            all: Arc::default(),
            program,
            label: None,
        };
        let build = registry.gauges(
            "build_info",
            "Always 1; the labels tell which build this is",
            &["version", "build"],
        );
        build
            .with_label_values(&[program.version, program.build])
            .set(1);
        #[cfg(target_os = "linux")]
        registry
            .all
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect(VALID);
        registry
    }

    /// The program whose metrics these are.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }

    /// The same registry, which adds this label to each metric that is registered through it.
    #[must_use]
    pub fn labelled(&self, name: &'static str, value: &'static str) -> Self {
        Self {
            label: Some((name, value)),
            ..self.clone()
        }
    }

    /// All metrics, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        TextEncoder::new()
            .encode_to_string(&self.all.gather())
            .expect("memory takes all that is written to it, and no family is empty")
            .into_bytes()
    }

    /// Registers a counter.
    #[must_use]
    pub fn counter(&self, name: &str, meaning: &str) -> IntCounter {
        self.register(IntCounter::with_opts(self.options(name, meaning)))
    }

    /// Registers counters that differ in their labels.
    #[must_use]
    pub fn counters(&self, name: &str, meaning: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(self.options(name, meaning), labels))
    }

    /// Registers a gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, meaning: &str) -> IntGauge {
        self.register(IntGauge::with_opts(self.options(name, meaning)))
    }

    /// Registers gauges that differ in their labels.
    #[must_use]
    pub fn gauges(&self, name: &str, meaning: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(self.options(name, meaning), labels))
    }

    /// Registers a histogram with these upper bounds.
    #[must_use]
    pub fn histogram(&self, name: &str, meaning: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::from(self.options(name, meaning));
        self.register(Histogram::with_opts(options.buckets(buckets.to_vec())))
    }

    /// Registers histograms that differ in their labels.
    #[must_use]
    pub fn histograms(
        &self,
        name: &str,
        meaning: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::from(self.options(name, meaning));
        self.register(HistogramVec::new(options.buckets(buckets.to_vec()), labels))
    }

    fn options(&self, name: &str, meaning: &str) -> Opts {
        let options = Opts::new(name, meaning).namespace(self.program.name);
        match self.label {
            Some((name, value)) => options.const_label(name, value),
            None => options,
        }
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect(VALID);
        self.all.register(Box::new(metric.clone())).expect(VALID);
        metric
    }
}

/// Converts a count to the type of gauges.
#[must_use]
pub fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
