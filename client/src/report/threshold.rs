//! Judges figures that a run must meet: `p99<20ms`, `throughput>5000`, `failed=0`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::{Figures, milliseconds, nearest_rank, supports_percentile, to_float};

/// A threshold: a figure, a comparison, and a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    given: String,
    figure: Figure,
    comparison: Comparison,
    /// The value in milliseconds, messages a second, or requests.
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    Mean,
    Min,
    Max,
    Percentile(f64),
    Throughput,
    Sent,
    Ok,
    Failed,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
}

/// The signs of the comparisons, longest first: `<` begins `<=`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

/// The result of a `--threshold`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ThresholdResult")]
pub(crate) struct ThresholdOutcome {
    pub(crate) threshold: String,
    /// The figure in its unit: milliseconds, messages a second, or requests. It is absent if there is not enough to
    /// tell.
    pub(crate) actual: Option<f64>,
    #[serde(rename = "met")]
    pub(crate) is_met: bool,
}

impl Threshold {
    pub(crate) fn judge(&self, figures: &Figures) -> ThresholdOutcome {
        let actual = self.figure.of(figures);
        let met = actual.is_some_and(|actual| match self.comparison {
            Comparison::Less => actual < self.value,
            Comparison::AtMost => actual <= self.value,
            Comparison::Greater => actual > self.value,
            Comparison::AtLeast => actual >= self.value,
            Comparison::Equal => (actual - self.value).abs() < f64::EPSILON,
        });
        ThresholdOutcome {
            threshold: self.given.clone(),
            actual,
            is_met: met,
        }
    }
}

impl Figure {
    fn is_time(self) -> bool {
        matches!(
            self,
            Self::Mean | Self::Min | Self::Max | Self::Percentile(_)
        )
    }

    fn of(self, figures: &Figures) -> Option<f64> {
        let latency = figures.total.latency.as_ref();
        let percentile = |percent| {
            supports_percentile(figures.latencies.len(), percent)
                .then(|| milliseconds(nearest_rank(&figures.latencies, percent)))
        };
        match self {
            Self::Mean => latency.map(|latency| latency.mean_ms),
            Self::Min => latency.map(|latency| latency.min_ms),
            Self::Max => latency.map(|latency| latency.max_ms),
            Self::Percentile(percent) => percentile(percent),
            Self::Throughput => Some(figures.throughput_per_second),
            Self::Sent => Some(to_float(figures.total.sent)),
            Self::Ok => Some(to_float(figures.total.ok)),
            Self::Failed => Some(to_float(figures.total.failed)),
            Self::Unknown => Some(to_float(figures.total.unknown)),
        }
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "mean" => Self::Mean,
            "min" => Self::Min,
            "max" => Self::Max,
            "throughput" => Self::Throughput,
            "sent" => Self::Sent,
            "ok" => Self::Ok,
            "failed" => Self::Failed,
            "unknown" => Self::Unknown,
            _ => match name
                .strip_prefix('p')
                .and_then(|percent| percent.parse::<f64>().ok())
            {
                Some(percent) if percent > 0.0 && percent < 100.0 => Self::Percentile(percent),
                _ => {
                    return Err(format!(
                        "no figure {name:?}; there are mean, min, max, p50 and other percentiles, throughput, sent, ok, failed, unknown"
                    ));
                }
            },
        })
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let found = COMPARISONS
            .iter()
            .find_map(|(sign, comparison)| Some((given.split_once(sign)?, *comparison)));
        let ((name, value), comparison) =
            found.ok_or("try p99<20ms, throughput>5000 or failed=0")?;
        let (figure, value): (Figure, &str) = (name.trim().parse()?, value.trim());
        let digits = value
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(value.len());
        let (number, unit) = value.split_at(digits);
        let factor = match (unit.trim(), figure.is_time()) {
            ("ms", true) | ("", false) => 1.0,
            ("us" | "µs", true) => 1e-3,
            ("s", true) => 1e3,
            (_, true) => {
                return Err(format!(
                    "{name} needs a unit of time: us, ms or s, like {name}<20ms"
                ));
            }
            (_, false) => return Err(format!("{name} has no unit: try {name}>{number}")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_error| format!("{value:?} is no number"))?;
        Ok(Self {
            given: given.to_owned(),
            figure,
            comparison,
            value: number * factor,
        })
    }
}

impl fmt::Display for ThresholdOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met { "met" } else { "MISSED" };
        match self.actual {
            Some(actual) => write!(formatter, "{word}: {} (it was {actual:.3})", self.threshold),
            None => write!(
                formatter,
                "{word}: {} (there are not enough answers to tell)",
                self.threshold
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_a_figure_a_comparison_and_a_value() {
        for (given, figure, comparison, value) in [
            ("p99<20ms", Figure::Percentile(99.0), Comparison::Less, 20.0),
            (
                "p99.9 <= 1.5s",
                Figure::Percentile(99.9),
                Comparison::AtMost,
                1500.0,
            ),
            (
                "throughput>5000",
                Figure::Throughput,
                Comparison::Greater,
                5000.0,
            ),
            ("failed=0", Figure::Failed, Comparison::Equal, 0.0),
            ("max>=10us", Figure::Max, Comparison::AtLeast, 0.01),
        ] {
            let threshold: Threshold = given.parse().expect(given);
            assert_eq!(
                (threshold.figure, threshold.comparison),
                (figure, comparison)
            );
            assert!((threshold.value - value).abs() < 1e-9);
        }
        for wrong in [
            "",
            "p99",
            "p99<20",
            "p0<1ms",
            "p100<1ms",
            "speed>1",
            "failed=0ms",
            "mean<ms",
            "ok=1.2.3",
        ] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong:?}");
        }
    }
}
