//! The printed figures of a run: first those of the script that this client replaces, then its own.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::report_client::{FinishedReport, Outcome};

/// The figures of a run.
#[derive(Debug)]
pub(super) struct Summary {
    start: Instant,
    total: Duration,
    first: Option<Box<RawValue>>,
    work_seconds: Vec<f64>,
    latencies: Vec<Duration>,
    retries: u64,
    failed: u64,
    /// Why the first report failed.
    failure: Option<String>,
}

/// The work time in a report, as the service gives it, in seconds.
#[derive(Deserialize)]
struct Work {
    total_duration: f64,
}

impl Summary {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            total: Duration::ZERO,
            first: None,
            work_seconds: Vec::new(),
            latencies: Vec::new(),
            retries: 0,
            failed: 0,
            failure: None,
        }
    }

    pub(super) fn add(&mut self, finished: FinishedReport) {
        self.retries += finished.retries;
        match finished.outcome {
            Outcome::Report(report) => {
                self.latencies.push(finished.latency);
                let work = serde_json::from_str::<Work>(report.get());
                self.work_seconds
                    .extend(work.map(|work| work.total_duration));
                self.first.get_or_insert(report);
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                self.failure.get_or_insert(why);
            }
            // The validator prints the reason.
            Outcome::Contradiction(_) => self.failed += 1,
        }
    }

    /// Ends the run: computes its duration, and sorts the samples.
    pub(super) fn end(&mut self) {
        self.total = self.start.elapsed();
        self.latencies.sort_unstable();
        self.work_seconds.sort_unstable_by(f64::total_cmp);
    }

    /// How many reports were received.
    pub(super) fn reports(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// How many reports are missing.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }
}

impl fmt::Display for Summary {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of reports are far below 2^52"
    )]
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(report) = &self.first {
            writeln!(to, "Result:  {report}")?;
        }
        if let [least, .., most] | [least @ most] = self.work_seconds.as_slice() {
            let mean = self.work_seconds.iter().sum::<f64>() / self.work_seconds.len() as f64;
            writeln!(to, "Max task work duration: {most}")?;
            writeln!(to, "Min task work duration: {least}")?;
            writeln!(to, "Average task work duration: {mean:.6}")?;
        }
        let seconds = self.total.as_secs_f64();
        writeln!(to, "Total working time: {seconds:.6}")?;
        let Self {
            failed, retries, ..
        } = self;
        let (reports, rate) = (self.reports(), self.reports() as f64 / seconds);
        writeln!(
            to,
            "Reports: {reports}, {rate:.1}/s; {failed} failed, {retries} requests sent once more"
        )?;
        if let Some(why) = &self.failure {
            writeln!(to, "  the first failed like this: {why}")?;
        }
        if let (Some(p50), Some(p99)) = (self.latency_ms(50), self.latency_ms(99)) {
            writeln!(
                to,
                "Latency from POST to report: p50 {p50:.1} ms, p99 {p99:.1} ms"
            )?;
        }
        Ok(())
    }
}

impl Summary {
    fn latency_ms(&self, percent: usize) -> Option<f64> {
        let latency = nearest_rank(&self.latencies, percent)?;
        Some(latency.as_secs_f64() * 1e3)
    }
}

/// The nearest-rank percentile: the smallest sample that at least `percent` percent of the samples do not exceed.
fn nearest_rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(nearest_rank(&hundred, 50), Some(50));
        assert_eq!(nearest_rank(&hundred, 99), Some(99));
        assert_eq!(nearest_rank(&[7], 99), Some(7));
        assert_eq!(nearest_rank(&[1, 2, 3], 50), Some(2));
        assert_eq!(nearest_rank::<u32>(&[], 50), None);
    }
}
