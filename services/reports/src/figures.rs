//! Computes the figures of a phone from its number of calls per duration. Pure, and exact: a call costs 10 a second, so a
//! millisecond costs one hundredth, and prices are sums of whole numbers.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::call::Phone;

/// The longest duration in the first class.
const MAX_SHORT_MS: u32 = 10_000;
/// The longest duration in the second class.
const MAX_MEDIUM_MS: u32 = 30_000;
/// Only calls longer than this count for `sum_price_att_over_15`.
const SUM_OVER_MS: u32 = 15_000;

/// The figures of a phone, as a report has them. The field names are those of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PhoneFigures {
    /// The phone.
    #[schema(value_type = u64, maximum = 1_000_000_000_000_000_u64)]
    pub phone: Phone,
    /// Whether the phone has ever called, inside or outside of the requested period.
    pub known: bool,
    /// How many calls it made.
    pub cnt_all_attempts: u64,
    /// How many calls it made, by class of duration.
    pub cnt_att_dur: DurationClasses,
    /// The price of the cheapest call; null without calls. A second costs 10.
    #[schema(value_type = Option<f64>, required)]
    pub min_price_att: Option<Price>,
    /// The price of the most expensive call; null without calls.
    #[schema(value_type = Option<f64>, required)]
    pub max_price_att: Option<Price>,
    /// The mean duration in seconds, rounded to the microsecond; null without calls.
    #[schema(value_type = Option<f64>, required)]
    pub avg_dur_att: Option<Seconds>,
    /// The sum of the prices of all calls longer than 15 seconds.
    #[schema(value_type = f64)]
    pub sum_price_att_over_15: Price,
}

/// How many calls there are in each class of duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DurationClasses {
    /// Up to 10 seconds.
    #[serde(rename = "10_sec")]
    pub short: u64,
    /// More than 10 and up to 30 seconds.
    #[serde(rename = "10_30_sec")]
    pub medium: u64,
    /// More than 30 seconds.
    #[serde(rename = "30_sec")]
    pub long: u64,
}

/// A fixed-point number, in units of 1/`PARTS`: `Decimal::<100>(150)` is 1.5. In JSON it is a number, without a fraction if it is
/// whole; one with a fraction is exact up to the 15 digits of a double.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decimal<const PARTS: u32>(pub u128);

/// An amount of money, to the hundredth.
pub type Price = Decimal<100>;
/// A time, to the microsecond.
pub type Seconds = Decimal<1_000_000>;

impl<const PARTS: u32> Serialize for Decimal<PARTS> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a reader of the JSON parses the decimal to the nearest double as well"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = u128::from(PARTS);
        match u64::try_from(self.0 / parts) {
            Ok(whole) if self.0.is_multiple_of(parts) => serializer.serialize_u64(whole),
            _ => serializer.serialize_f64(self.0 as f64 / f64::from(PARTS)),
        }
    }
}

/// Counts and sums the calls of a phone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    classes: DurationClasses,
    /// The shortest and the longest duration; none without calls.
    min_max_ms: Option<(u32, u32)>,
    total_ms: u128,
    over_15_ms: u128,
}

impl Tally {
    /// Adds `calls` calls of this duration; `calls` must be at least 1.
    pub fn add(&mut self, duration_ms: u32, calls: u64) {
        let class = if duration_ms <= MAX_SHORT_MS {
            &mut self.classes.short
        } else if duration_ms <= MAX_MEDIUM_MS {
            &mut self.classes.medium
        } else {
            &mut self.classes.long
        };
        *class += calls;
        let (shortest, longest) = self.min_max_ms.unwrap_or((duration_ms, duration_ms));
        self.min_max_ms = Some((shortest.min(duration_ms), longest.max(duration_ms)));
        let sum_ms = u128::from(duration_ms) * u128::from(calls);
        self.total_ms += sum_ms;
        if duration_ms > SUM_OVER_MS {
            self.over_15_ms += sum_ms;
        }
    }

    /// The figures of `phone`, whose calls were added. The phone is known if it has calls, or if `known` is true.
    #[must_use]
    pub fn figures(&self, phone: Phone, known: bool) -> PhoneFigures {
        let calls = self.classes.short + self.classes.medium + self.classes.long;
        let price = |duration_ms: u32| Decimal(duration_ms.into());
        PhoneFigures {
            phone,
            known: known || calls > 0,
            cnt_all_attempts: calls,
            cnt_att_dur: self.classes,
            min_price_att: self.min_max_ms.map(|(shortest, _)| price(shortest)),
            max_price_att: self.min_max_ms.map(|(_, longest)| price(longest)),
            avg_dur_att: mean(self.total_ms, calls),
            sum_price_att_over_15: Decimal(self.over_15_ms),
        }
    }
}

/// The mean duration of `calls` calls, rounded half up to the microsecond; none without calls.
fn mean(total_ms: u128, calls: u64) -> Option<Seconds> {
    let calls = u128::from(calls);
    let doubled_us = total_ms * 2_000;
    (doubled_us + calls).checked_div(2 * calls).map(Decimal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn figures_json(durations: &[(u32, u64)]) -> Value {
        let mut tally = Tally::default();
        for &(duration_ms, calls) in durations {
            tally.add(duration_ms, calls);
        }
        let phone = Phone::try_from(7).expect("it is small");
        serde_json::to_value(tally.figures(phone, false)).expect("it is plain data")
    }

    #[test]
    fn the_limits_of_the_classes_belong_to_the_lower_one_and_fifteen_seconds_are_not_summed() {
        let all = [10_000, 10_001, 15_000, 15_001, 30_000, 30_001].map(|ms| (ms, 1));
        let figures = figures_json(&all);
        assert_eq!(
            figures["cnt_att_dur"],
            json!({"10_sec": 1, "10_30_sec": 4, "30_sec": 1})
        );
        assert_eq!(figures["sum_price_att_over_15"], json!(750.02));
    }

    #[test]
    fn a_phone_without_calls_has_zeros_and_nulls() {
        let expected = json!({
            "phone": 7, "known": false, "cnt_all_attempts": 0,
            "cnt_att_dur": {"10_sec": 0, "10_30_sec": 0, "30_sec": 0},
            "min_price_att": null, "max_price_att": null, "avg_dur_att": null, "sum_price_att_over_15": 0,
        });
        assert_eq!(figures_json(&[]), expected);
    }

    #[test]
    fn numbers_are_written_exactly_and_whole_ones_without_a_fraction() {
        let written = |price: u128| serde_json::to_string(&Decimal::<100>(price));
        for (hundredths, text) in [
            (0, "0"),
            (120_000, "1200"),
            (1, "0.01"),
            (110, "1.1"),
            (5_889_833_000, "58898330"),
            (999_999_999_999_999, "9999999999999.99"),
        ] {
            assert_eq!(written(hundredths).expect("it is a number"), text);
        }
    }

    #[test]
    fn the_mean_is_rounded_half_up_to_the_microsecond() {
        assert_eq!(mean(1, 3), Some(Decimal(333)));
        assert_eq!(mean(2, 3), Some(Decimal(667)));
        assert_eq!(mean(1, 2_000), Some(Decimal(1)));
        assert_eq!(mean(5_991_029, 100), Some(Decimal(59_910_290)));
    }

    /// Computes the figures call by call, in integers.
    fn naive(durations: &[(u32, u64)]) -> Value {
        let calls: Vec<u128> = durations
            .iter()
            .flat_map(|&(ms, calls)| (0..calls).map(move |_| u128::from(ms)))
            .collect();
        let count =
            |from: u128, to: u128| calls.iter().filter(|&&ms| ms > from && ms <= to).count();
        let short = calls.iter().filter(|&&ms| ms <= 10_000).count();
        // Price in hundredths: seconds times ten times a hundred.
        let price = |ms: u128| decimal(ms * 10 * 100 / 1_000, 2);
        let over: u128 = calls.iter().filter(|&&ms| ms > 15_000).sum();
        let number = calls.len() as u128;
        let microseconds = (calls.iter().sum::<u128>() * 1_000_000 * 10 / 1_000 / number + 5) / 10;
        json!({
            "phone": 7, "known": true, "cnt_all_attempts": calls.len(),
            "cnt_att_dur": {"10_sec": short, "10_30_sec": count(10_000, 30_000), "30_sec": count(30_000, u128::MAX)},
            "min_price_att": calls.iter().min().map(|&ms| price(ms)),
            "max_price_att": calls.iter().max().map(|&ms| price(ms)),
            "avg_dur_att": decimal(microseconds, 6),
            "sum_price_att_over_15": price(over),
        })
    }

    /// The decimal number `parts` / 10^`digits`, written out and parsed as JSON.
    fn decimal(parts: u128, digits: u32) -> Value {
        let one = 10_u128.pow(digits);
        let (whole, fraction) = (parts / one, parts % one);
        let text = if fraction == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{fraction:0width$}", width = digits as usize)
        };
        serde_json::from_str(&text).expect("it is a number")
    }

    proptest! {
        #[test]
        fn figures_are_those_of_a_naive_count(
            durations in prop::collection::vec((prop_oneof![0..40_000_u32, any::<u32>()], 1..4_u64), 1..40)
        ) {
            prop_assert_eq!(figures_json(&durations), naive(&durations));
        }

        #[test]
        fn the_order_and_the_grouping_of_calls_do_not_matter(
            mut durations in prop::collection::vec((0..40_000_u32, 1..4_u64), 1..40)
        ) {
            let expected = figures_json(&durations);
            durations.reverse();
            let single: Vec<_> = durations
                .iter()
                .flat_map(|&(ms, calls)| (0..calls).map(move |_| (ms, 1)))
                .collect();
            prop_assert_eq!(figures_json(&single), expected);
        }
    }
}
