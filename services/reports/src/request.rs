//! What a client asks for, parsed and within the limits of the contract.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use foundation::http::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::call::Phone;

/// Most phones of a report.
const MOST_NUMBERS: usize = 1_000;
/// Most characters of a correlation id.
const MOST_CORRELATION: usize = 255;

/// What `POST /api/v1/report` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The phones, 1 to 1,000 of them, each from 0 to 10^15 and once.
    #[schema(value_type = Option<Vec<u64>>, min_items = 1, max_items = 1000, example = json!([1, 2]))]
    numbers: Option<Vec<Value>>,
    /// Another name of `numbers`.
    #[schema(value_type = Option<Vec<u64>>, min_items = 1, max_items = 1000)]
    phones: Option<Vec<Value>>,
    /// A name of the client's own: a string of up to 255 characters, or a whole number. It comes back as it was given.
    #[serde(default)]
    #[schema(value_type = Option<CorrelationId>)]
    correlation_id: Value,
    /// Only calls that begin at this time or later.
    from: Option<DateTime<Utc>>,
    /// Only calls that begin before this time.
    to: Option<DateTime<Utc>>,
}

/// A string or a whole number.
#[derive(ToSchema)]
#[schema(as = CorrelationId)]
#[serde(untagged)]
pub enum CorrelationId {
    /// Up to 255 characters.
    Name(String),
    /// Within 64 bits.
    Number(i64),
}

/// A report that is asked for, and how its job tells it to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRequest {
    /// The phones, in the order of the report.
    pub numbers: Vec<Phone>,
    /// Only calls that begin at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Only calls that begin before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
}

impl Wanted {
    /// The report that is asked for, and the correlation id in JSON.
    ///
    /// # Errors
    /// 422 with each fault.
    pub fn parse(self) -> Result<(ReportRequest, String), Problem> {
        let numbers = match (self.numbers, self.phones) {
            (Some(numbers), None) | (None, Some(numbers)) => numbers,
            (None, None) => return Err(refused("Send `numbers`, a list of phones.")),
            (Some(_), Some(_)) => {
                return Err(refused(
                    "Send `numbers` or `phones`, not both: they mean the same.",
                ));
            }
        };
        let correlation_id = correlation_id(&self.correlation_id)?;
        let is_empty = |(from, to): (DateTime<Utc>, DateTime<Utc>)| from >= to;
        if self.from.zip(self.to).is_some_and(is_empty) {
            return Err(refused("`from` must be earlier than `to`."));
        }
        let request = ReportRequest {
            numbers: phones(&numbers)?,
            from: self.from,
            to: self.to,
        };
        Ok((request, correlation_id))
    }
}

fn refused(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(422, detail)
}

fn phones(numbers: &[Value]) -> Result<Vec<Phone>, Problem> {
    if !(1..=MOST_NUMBERS).contains(&numbers.len()) {
        return Err(refused(format!(
            "`numbers` has {} entries. It takes 1 to {MOST_NUMBERS}.",
            numbers.len()
        )));
    }
    let (mut phones, mut faults, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, number) in numbers.iter().enumerate() {
        let phone = number
            .as_u64()
            .and_then(|number| Phone::try_from(number).ok());
        let fault = match phone {
            None => format!("is no whole number from 0 to {}", Phone::LARGEST),
            Some(phone) if !seen.insert(phone) => "is there twice".to_owned(),
            Some(phone) => {
                phones.push(phone);
                continue;
            }
        };
        faults.push(json!({ "index": index, "number": number, "fault": fault }));
    }
    match faults.len() {
        0 => Ok(phones),
        count => Err(refused(format!(
            "{count} of the {} `numbers` cannot be taken: see `faults`.",
            numbers.len()
        ))
        .with_member("faults", faults)),
    }
}

/// The id in JSON, as it was given.
fn correlation_id(id: &Value) -> Result<String, Problem> {
    let fits = match id {
        Value::Null => true,
        Value::String(name) => name.chars().count() <= MOST_CORRELATION,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    if fits {
        Ok(id.to_string())
    } else {
        Err(refused(format!(
            "`correlation_id` takes a string of up to {MOST_CORRELATION} characters, or a whole number of 64 bits."
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(wanted: &Value) -> Result<(ReportRequest, String), u16> {
        let wanted: Wanted =
            serde_json::from_value(wanted.clone()).map_err(|_malformed| 400_u16)?;
        wanted.parse().map_err(|problem| problem.status())
    }

    #[test]
    fn limits_hold_at_n_and_not_at_n_and_one() {
        let numbers = |count: usize| json!({ "numbers": (0..count).collect::<Vec<_>>() });
        assert!(parse(&numbers(1)).is_ok() && parse(&numbers(1_000)).is_ok());
        assert_eq!(parse(&numbers(0)), Err(422));
        assert_eq!(parse(&numbers(1_001)), Err(422));
        for (number, is_taken) in [
            (json!(1_000_000_000_000_000_u64), true),
            (json!(1_000_000_000_000_001_u64), false),
            (json!(-1), false),
            (json!(1.5), false),
            (json!("1"), false),
            (json!(null), false),
        ] {
            assert_eq!(
                parse(&json!({ "numbers": [number] })).is_ok(),
                is_taken,
                "{number}"
            );
        }
        assert_eq!(parse(&json!({ "numbers": [1, 2, 1] })), Err(422));
    }

    #[test]
    fn a_correlation_id_comes_back_as_it_was_given() {
        for (id, shown) in [
            (json!("x"), Some("\"x\"")),
            (json!("12"), Some("\"12\"")),
            (json!(12), Some("12")),
            (json!(u64::MAX), Some("18446744073709551615")),
            (json!(i64::MIN), Some("-9223372036854775808")),
            (json!(null), Some("null")),
            (
                json!("ü".repeat(255)),
                Some(&*format!("\"{}\"", "ü".repeat(255))),
            ),
            (json!("ü".repeat(256)), None),
            (json!(1.5), None),
            (json!([1]), None),
        ] {
            let parsed = parse(&json!({ "phones": [1], "correlation_id": id }));
            assert_eq!(parsed.ok().map(|(_, id)| id).as_deref(), shown, "{id}");
        }
    }

    #[test]
    fn a_period_ends_behind_its_begin() {
        let period =
            |from: &str, to: &str| parse(&json!({ "numbers": [1], "from": from, "to": to }));
        assert!(period("2024-01-01T00:00:00Z", "2024-01-01T01:00:00.001+01:00").is_ok());
        assert_eq!(
            period("2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"),
            Err(422)
        );
        assert_eq!(period("2024-01-01", "2024-01-02T00:00:00Z"), Err(400));
    }

    #[test]
    fn numbers_are_sent_once_under_one_of_their_names() {
        assert_eq!(parse(&json!({ "numbers": [1], "phones": [1] })), Err(422));
        assert_eq!(parse(&json!({ "correlation_id": "x" })), Err(422));
        assert_eq!(parse(&json!({ "numbers": 1 })), Err(400));
        assert_eq!(parse(&json!({ "numbers": [1], "other": 1 })), Err(400));
    }

    #[test]
    fn a_request_reaches_the_worker_as_it_was_made() {
        let wanted = json!({ "numbers": [3, 1], "from": "2024-01-01T00:00:00.5Z" });
        let (request, _) = parse(&wanted).expect("it is one");
        let told = serde_json::to_vec(&request).expect("it is plain data");
        assert_eq!(
            serde_json::from_slice::<ReportRequest>(&told).ok(),
            Some(request)
        );
    }
}
