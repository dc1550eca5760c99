//! Compares figures from both sources with a separate computation.

use chrono::{DateTime, Utc};
use reports::call::Phone;
use reports::store::{self, FigureSource, Period};
use serde_json::{Value, json};
use testbed::Database;

use crate::harness::{Call, array, load};

/// The first call starts here; the value has no meaning.
const START: u64 = 1_684_957_028_364;

/// Phone 1 has the limits of the classes and of the sum, 2 only whole seconds, 3 fractions and calls of duration 0, and the
/// largest phone one call.
fn calls() -> Vec<Call> {
    let durations: [(u64, &[u64]); 4] = [
        (1, &[10_000, 10_001, 15_000, 15_001, 30_000, 30_001]),
        (2, &[1_000, 120_000, 59_000, 16_000, 15_000, 120_000, 0]),
        (3, &[1, 0, 0, 333, 14_999, 15_001, 29_999, 86_400_007]),
        (1_000_000_000_000_000, &[7]),
    ];
    let of_phone = |(phone, durations): (u64, &[u64])| {
        let starts = (START..).step_by(1_000);
        let calls = durations.iter().zip(starts);
        calls
            .map(|(duration, start)| (phone, start, start + duration))
            .collect::<Vec<Call>>()
    };
    durations.into_iter().flat_map(of_phone).collect()
}

/// The figures of a phone in floating point, for which the numbers are small enough.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn expected_of_phone(calls: &[Call], phone: u64, from: u64, to: u64) -> Value {
    let of_phone = calls.iter().filter(|call| call.0 == phone);
    let durations: Vec<f64> = of_phone
        .clone()
        .filter(|(_, start, _)| (from..to).contains(start))
        .map(|(_, start, end)| (end - start) as f64 / 1_000.0)
        .collect();
    let count = |holds: &dyn Fn(f64) -> bool| durations.iter().filter(|&&s| holds(s)).count();
    let price = |seconds: f64| (seconds * 10.0 * 100.0).round() / 100.0;
    let mean = durations.iter().sum::<f64>() / durations.len() as f64;
    let over: f64 = durations.iter().filter(|&&s| s > 15.0).sum();
    json!({
        "phone": phone,
        "known": of_phone.count() > 0,
        "cnt_all_attempts": durations.len(),
        "cnt_att_dur": {
            "10_sec": count(&|s| s <= 10.0),
            "10_30_sec": count(&|s| s > 10.0 && s <= 30.0),
            "30_sec": count(&|s| s > 30.0),
        },
        "min_price_att": durations.iter().copied().reduce(f64::min).map(price),
        "max_price_att": durations.iter().copied().reduce(f64::max).map(price),
        "avg_dur_att": (!durations.is_empty()).then(|| (mean * 1e6).round() / 1e6),
        "sum_price_att_over_15": price(over),
    })
}

/// The same value with every number as a double, because whole numbers are written without a fraction.
fn in_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.into_iter().map(in_doubles).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members
                .map(|(name, value)| (name, in_doubles(value)))
                .collect()
        }
        other => other,
    }
}

fn figures_json(
    database: &Database,
    phones: &[u64],
    period: Period,
    source: FigureSource,
) -> Value {
    let phone = |&phone: &u64| Phone::try_from(phone).expect("it is in the limit");
    let phones: Vec<Phone> = phones.iter().map(phone).collect();
    let figures = store::figures(&mut database.connect(), &phones, period, source);
    in_doubles(serde_json::to_value(figures.expect("the database is up")).expect("it is data"))
}

fn time(milliseconds: u64) -> Option<DateTime<Utc>> {
    let milliseconds = i64::try_from(milliseconds).expect("it is a date");
    DateTime::from_timestamp_millis(milliseconds)
}

/// Not in numeric order; 5 has never called.
const PHONES: [u64; 5] = [3, 1, 5, 1_000_000_000_000_000, 2];

fn expected(from: u64, to: u64) -> Value {
    let calls = calls();
    let rows = PHONES.map(|phone| expected_of_phone(&calls, phone, from, to));
    in_doubles(rows.into_iter().collect())
}

#[test]
fn figures_are_those_counted_by_hand_from_durations_and_from_calls() {
    let database = Database::new();
    load(&database, &["-"], &array(&calls()));
    for source in [FigureSource::Durations, FigureSource::Calls] {
        let figures = figures_json(&database, &PHONES, Period::default(), source);
        assert_eq!(figures, expected(0, u64::MAX), "{source:?}");
    }
}

#[test]
fn a_period_takes_calls_from_its_first_millisecond_to_the_last_before_its_end() {
    let database = Database::new();
    load(&database, &["-"], &array(&calls()));
    let second = |second: u64| START + second * 1_000;
    for (from, to) in [
        (second(1), second(4)),
        (second(1) + 1, second(4) + 1),
        (second(0), second(1)),
        (second(90), second(99)),
        (second(4), second(4)),
        (0, second(2)),
        (second(2), u64::MAX),
    ] {
        let open = |end: u64, is_open: bool| if is_open { None } else { time(end) };
        let period = Period::new(open(from, from == 0), open(to, to == u64::MAX));
        for source in [FigureSource::Durations, FigureSource::Calls] {
            let figures = figures_json(&database, &PHONES, period, source);
            assert_eq!(figures, expected(from, to), "{period:?} {source:?}");
        }
    }
}

#[test]
fn figures_of_a_thousand_phones_come_in_the_order_asked() {
    let database = Database::new();
    load(&database, &["--generate", "1000x3"], "");
    let phones: Vec<u64> = (0..1_000).rev().collect();
    let from_durations = figures_json(
        &database,
        &phones,
        Period::default(),
        FigureSource::Durations,
    );
    let from_calls = figures_json(&database, &phones, Period::default(), FigureSource::Calls);
    assert_eq!(from_durations, from_calls);
    let rows = from_durations.as_array().expect("they are rows");
    assert!(
        rows.iter()
            .map(|row| &row["phone"])
            .eq(in_doubles(json!(phones)).as_array().expect("it is one"))
    );
    assert!(rows.iter().all(|row| row["cnt_all_attempts"] == 3.0));
}
