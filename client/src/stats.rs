//! Computes the figures of a run. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::{History, Op, Outcome, Phase, Reason};

/// The least number of samples beyond a percentile for it to be reported; with fewer it is not significant.
const MIN_SAMPLES_BEYOND: f64 = 10.0;
const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// The figures of a run.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) interrupted: bool,
    pub(crate) total_time_ms: f64,
    pub(crate) throughput_per_second: f64,
    /// The total time divided by the number of requests, which is not a latency.
    pub(crate) wall_time_per_request_ms: f64,
    /// How many requests were under way on average.
    pub(crate) under_way: f64,
    pub(crate) client_cpu_ms: f64,
    pub(crate) total: Group,
    /// The figures of each replica, in the order of the URLs. A request that was sent more than once counts for the
    /// replica asked last, with the time of all its attempts.
    pub(crate) replicas: Vec<Group>,
    /// How many requests were sent more than once.
    pub(crate) repeated: u64,
    /// How many requests failed or are of unknown outcome, by kind, in plain words.
    pub(crate) errors: Vec<ErrorCount>,
    /// The latencies of the requests that failed or are of unknown outcome.
    pub(crate) failed_latency: Option<Latency>,
    /// The latencies of all successful requests in nanoseconds, ascending.
    #[serde(skip)]
    pub(crate) latencies: Vec<u64>,
}

/// The number of requests that ended alike.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCount {
    pub(crate) kind: String,
    pub(crate) count: u64,
}

/// The figures of requests that have something in common.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GroupFigures")]
pub(crate) struct Group {
    /// How many requests were sent: `ok + failed + unknown`.
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    /// How many messages are surely not stored.
    pub(crate) failed: u64,
    /// How many messages are perhaps stored.
    pub(crate) unknown: u64,
    /// The latencies of the successful requests; absent if there is none.
    pub(crate) latency: Option<Latency>,
}

/// A distribution of latencies.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LatencyFigures")]
pub(crate) struct Latency {
    pub(crate) mean_ms: f64,
    pub(crate) standard_deviation_ms: f64,
    pub(crate) min_ms: f64,
    pub(crate) max_ms: f64,
    /// The percentiles that the sample supports: ten values lie beyond.
    pub(crate) percentiles: Vec<Percentile>,
}

/// One percentile, by nearest rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PercentileFigure")]
pub(crate) struct Percentile {
    pub(crate) percent: f64,
    pub(crate) value_ms: f64,
}

/// Computes all figures of a run, over its measured requests only: neither warm-up nor probes.
pub(crate) fn summarize(
    history: &History,
    wall: Duration,
    cpu: Duration,
    interrupted: bool,
) -> Figures {
    let measured = || history.ops.iter().filter(|op| op.phase == Phase::Measured);
    let mut kinds: BTreeMap<Reason, u64> = BTreeMap::new();
    for op in measured() {
        if let Outcome::Failed(reason) | Outcome::Unknown(reason) = op.outcome {
            *kinds.entry(reason).or_default() += 1;
        }
    }
    let errors = kinds.into_iter().map(|(reason, count)| ErrorCount {
        kind: reason.to_string(),
        count,
    });
    let replicas = (0..history.settings.replicas.len())
        .map(|replica| group(measured().filter(|op| usize::from(op.replica) == replica)).0)
        .collect();
    let (total, latencies) = group(measured());
    let mut failed: Vec<u64> = measured()
        .filter(|op| !op.is_ok())
        .map(Op::latency_ns)
        .collect();
    let seconds = wall.as_secs_f64();
    let busy: Duration = measured()
        .map(|op| Duration::from_nanos(op.end_ns.saturating_sub(op.start_ns)))
        .sum();
    Figures {
        interrupted,
        total_time_ms: seconds * 1000.0,
        throughput_per_second: to_float(total.ok) / seconds.max(f64::EPSILON),
        wall_time_per_request_ms: seconds * 1000.0 / to_float(total.sent.max(1)),
        // By Little's law: the sum of their times, divided by the time of the run. In an open loop, the wait for a free coroutine
        // is part of the latency, but no request is in flight during it.
        under_way: busy.as_secs_f64() / seconds.max(f64::EPSILON),
        client_cpu_ms: cpu.as_secs_f64() * 1000.0,
        total,
        replicas,
        repeated: measured().filter(|op| op.attempts > 1).count() as u64,
        errors: errors.collect(),
        failed_latency: latency(&mut failed),
        latencies,
    }
}

/// Returns the figures of these requests, and the latencies of the successful ones, ascending.
fn group<'a>(ops: impl Iterator<Item = &'a Op>) -> (Group, Vec<u64>) {
    let mut group = Group::default();
    let mut latencies = Vec::new();
    for op in ops {
        group.sent += 1;
        match op.outcome {
            Outcome::Ok => {
                group.ok += 1;
                latencies.push(op.latency_ns());
            }
            Outcome::Failed(_) => group.failed += 1,
            Outcome::Unknown(_) => group.unknown += 1,
        }
    }
    group.latency = latency(&mut latencies);
    (group, latencies)
}

/// Returns the distribution of these latencies, if there are any, and sorts them.
fn latency(samples: &mut [u64]) -> Option<Latency> {
    samples.sort_unstable();
    let (min, max) = (*samples.first()?, *samples.last()?);
    let count = to_float(samples.len() as u64);
    let mean_ns = samples.iter().map(|sample| to_float(*sample)).sum::<f64>() / count;
    let variance = samples
        .iter()
        .map(|sample| (to_float(*sample) - mean_ns).powi(2))
        .sum::<f64>()
        / count;
    let percentiles = PERCENTILES
        .into_iter()
        .filter(|percent| *percent <= 50.0 || supports_percentile(samples.len(), *percent))
        .map(|percent| Percentile {
            percent,
            value_ms: milliseconds(nearest_rank(samples, percent)),
        })
        .collect();
    Some(Latency {
        mean_ms: mean_ns / 1e6,
        standard_deviation_ms: variance.sqrt() / 1e6,
        min_ms: milliseconds(min),
        max_ms: milliseconds(max),
        percentiles,
    })
}

/// Returns whether `count` samples are enough to report this percentile.
pub(crate) fn supports_percentile(count: usize, percent: f64) -> bool {
    to_float(count as u64) * (100.0 - percent) / 100.0 >= MIN_SAMPLES_BEYOND - 1e-6
}

/// Converts a count, or a time in nanoseconds, to a float.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a run are below 2^52"
)]
pub(crate) fn to_float(number: u64) -> f64 {
    number as f64
}

/// Converts nanoseconds to milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    to_float(nanoseconds) / 1e6
}

/// Returns the smallest sample that at least `percent` of all samples do not exceed: number `ceil(p n)`, counted from
/// 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank lies between 1 and the number of samples"
)]
pub(crate) fn nearest_rank(sorted: &[u64], percent: f64) -> u64 {
    // Subtract a little, because 99.9 / 100 * 1000 is 999.0000000000001 in floating point.
    let rank = (percent / 100.0 * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut samples: Vec<u64> = (1..=1000).rev().map(|sample| sample * 1_000_000).collect();
        let latency = latency(&mut samples).expect("there are samples");
        let expected = [50.0, 75.0, 90.0, 95.0, 99.0].map(|percent| Percentile {
            percent,
            value_ms: percent * 10.0,
        });
        assert_eq!(latency.percentiles, expected);
        assert!((latency.min_ms - 1.0).abs() < 1e-9);
        assert!((latency.max_ms - 1000.0).abs() < 1e-9);
        assert!((latency.mean_ms - 500.5).abs() < 1e-9);
    }

    #[test]
    fn a_percentile_needs_ten_samples_beyond() {
        assert!(
            supports_percentile(5000, 99.8)
                && !supports_percentile(5000, 99.9)
                && supports_percentile(1000, 99.0)
                && !supports_percentile(999, 99.0)
        );
        let percentiles = latency(&mut [7]).expect("one sample").percentiles;
        assert_eq!(percentiles.len(), 1);
        assert!((percentiles[0].percent - 50.0).abs() < 1e-9);
        assert!((percentiles[0].value_ms - 7e-6).abs() < 1e-9);
        assert!(latency(&mut []).is_none());
    }
}
