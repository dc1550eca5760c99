//! Compares the figures of a run with thresholds: `p99<20ms`, `throughput>5000`, `failed=0`.

use std::cmp::Ordering::{self, Equal, Greater, Less};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::{Figures, Latency, milliseconds, nearest_rank, supports_percentile, to_float};

/// A threshold: a figure, a comparison, and a value.
#[derive(Debug, Clone)]
pub(crate) struct Threshold {
    /// The threshold as the user wrote it.
    text: String,
    figure: Figure,
    /// The accepted results of comparing the figure with the value.
    accepted: &'static [Ordering],
    /// The value in milliseconds, messages per second, or requests.
    value: f64,
}

#[derive(Debug, Clone, Copy)]
enum Figure {
    Percentile(f64),
    /// Another figure of the latencies of the successful requests.
    Latency(fn(&Latency) -> f64),
    /// A figure without a unit.
    Plain(fn(&Figures) -> f64),
}

/// The comparison operators, longest first, because `<` is a prefix of `<=`.
const COMPARISONS: [(&str, &[Ordering]); 6] = [
    ("<=", &[Less, Equal]),
    (">=", &[Greater, Equal]),
    ("==", &[Equal]),
    ("<", &[Less]),
    (">", &[Greater]),
    ("=", &[Equal]),
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
        let ordering = actual.and_then(|actual| actual.partial_cmp(&self.value));
        ThresholdOutcome {
            threshold: self.text.clone(),
            actual,
            is_met: ordering.is_some_and(|ordering| self.accepted.contains(&ordering)),
        }
    }
}

impl Figure {
    fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Percentile(percent) => supports_percentile(figures.latencies.len(), percent)
                .then(|| milliseconds(nearest_rank(&figures.latencies, percent))),
            Self::Latency(figure) => figures.total.latency.as_ref().map(figure),
            Self::Plain(figure) => Some(figure(figures)),
        }
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "mean" => Self::Latency(|latency| latency.mean_ms),
            "min" => Self::Latency(|latency| latency.min_ms),
            "max" => Self::Latency(|latency| latency.max_ms),
            "throughput" => Self::Plain(|figures| figures.throughput_per_second),
            "sent" => Self::Plain(|figures| to_float(figures.total.sent)),
            "ok" => Self::Plain(|figures| to_float(figures.total.ok)),
            "failed" => Self::Plain(|figures| to_float(figures.total.failed)),
            "unknown" => Self::Plain(|figures| to_float(figures.total.unknown)),
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

    fn from_str(text: &str) -> Result<Self, String> {
        let found = COMPARISONS
            .iter()
            .find_map(|(sign, accepted)| Some((text.split_once(sign)?, *accepted)));
        let ((name, value), accepted) = found.ok_or("try p99<20ms, throughput>5000 or failed=0")?;
        let (figure, value): (Figure, &str) = (name.trim().parse()?, value.trim());
        let digits = value
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(value.len());
        let (number, unit) = value.split_at(digits);
        let factor = match (unit.trim(), !matches!(figure, Figure::Plain(_))) {
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
            text: text.to_owned(),
            figure,
            accepted,
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
    use crate::stats::Group;

    fn figures() -> Figures {
        Figures {
            throughput_per_second: 500.0,
            total: Group {
                sent: 1003,
                ok: 1000,
                failed: 2,
                unknown: 1,
                latency: Some(Latency {
                    mean_ms: 500.5,
                    standard_deviation_ms: 0.0,
                    min_ms: 1.0,
                    max_ms: 1000.0,
                    percentiles: Vec::new(),
                }),
            },
            latencies: (1..=1000).map(|sample| sample * 1_000_000).collect(),
            ..Figures::default()
        }
    }

    #[test]
    fn thresholds_have_a_figure_a_comparison_and_a_value() {
        let figures = figures();
        for (given, actual, accepted, value) in [
            ("p99<20ms", 990.0, &[Less][..], 20.0),
            ("p98.5 <= 1.5s", 985.0, &[Less, Equal], 1500.0),
            ("throughput>5000", 500.0, &[Greater], 5000.0),
            ("sent=0", 1003.0, &[Equal], 0.0),
            ("ok==0", 1000.0, &[Equal], 0.0),
            ("failed=0", 2.0, &[Equal], 0.0),
            ("unknown=0", 1.0, &[Equal], 0.0),
            ("max>=10us", 1000.0, &[Greater, Equal], 0.01),
            ("min>=10us", 1.0, &[Greater, Equal], 0.01),
            ("mean<1ms", 500.5, &[Less], 1.0),
        ] {
            let threshold: Threshold = given.parse().expect(given);
            assert_eq!(threshold.accepted, accepted, "{given}");
            assert!((threshold.value - value).abs() < 1e-9, "{given}");
            let judged = threshold.judge(&figures);
            let difference = judged.actual.expect("there are answers") - actual;
            assert!(difference.abs() < 1e-9, "{given}");
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
