//! Parses a report request, and checks the limits of the contract; `schema` describes the request in the contract.

mod schema;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chrono::{DateTime, Utc};
use foundation::http::Problem;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value, json};
use utoipa::ToSchema;

use crate::call::Phone;

pub use self::schema::{CorrelationId, Wanted};

/// Most phones of a report.
const MAX_NUMBERS: usize = 1_000;
/// Most characters of a correlation id.
const MAX_CORRELATION_ID: usize = 255;
/// Most unknown members that are reported as faults.
const MAX_UNKNOWN_MEMBERS: usize = 20;

/// A valid report request, and the payload of its job.
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

/// The members of a request's body; each name occurs once.
#[derive(Debug)]
pub struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> Result<Members, M::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = object.next_key::<String>()? {
                    if members.contains_key(&name) {
                        return Err(Error::custom(format_args!("`{name}` is there twice")));
                    }
                    members.insert(name, object.next_value()?);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Object)
    }
}

/// A fault of a request.
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
pub struct Fault {
    /// 400 if the form is wrong, 422 if a limit is exceeded.
    #[serde(skip)]
    status: u16,
    /// The member of the body.
    field: String,
    /// The index of the entry in a list, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    index: Option<u64>,
    /// The entry of the list, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Value>,
    /// What is wrong with it.
    #[serde(rename = "fault")]
    message: String,
}

/// All faults of a request.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault of a member, or of an entry of its list.
    fn add(
        &mut self,
        status: u16,
        field: &str,
        entry: Option<(usize, &Value)>,
        message: impl Into<String>,
    ) {
        self.0.push(Fault {
            status,
            field: field.to_owned(),
            index: entry.map(|(index, _)| index as u64),
            number: entry.map(|(_, number)| number.clone()),
            message: message.into(),
        });
    }

    /// An error that lists all faults, if there are any. Its status is 400 if the form of any member is wrong.
    fn into_result(self) -> Result<(), Problem> {
        let detail = match self.0.as_slice() {
            [] => return Ok(()),
            [one] => {
                let index = one.index.map(|index| format!("[{index}]"));
                let index = index.unwrap_or_default();
                format!("`{}{index}` {}.", one.field, one.message)
            }
            several => format!(
                "{} things of the body cannot be taken: see `faults`.",
                several.len()
            ),
        };
        let status = self.0.iter().map(|fault| fault.status).min();
        Err(Problem::new(status.unwrap_or(BAD_REQUEST), detail)
            .with_member("faults", json!(self.0)))
    }
}

/// The status if a member is missing, unknown or of the wrong type.
const BAD_REQUEST: u16 = 400;
/// The status if a limit is exceeded.
const UNPROCESSABLE: u16 = 422;

impl Members {
    /// The report request, and the correlation id in JSON.
    ///
    /// # Errors
    /// 400 or 422, with all faults.
    pub fn parse(mut self) -> Result<(ReportRequest, String), Problem> {
        let mut faults = Faults::default();
        let numbers = self.phones(&mut faults);
        let id = self.0.remove("correlation_id").unwrap_or_default();
        if let Some(status) = correlation_id_fault(&id) {
            let takes = format!(
                "takes a string of up to {MAX_CORRELATION_ID} characters, or a whole number of 64 bits"
            );
            faults.add(status, "correlation_id", None, takes);
        }
        let [from, to] = ["from", "to"].map(|name| self.time(name, &mut faults));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            faults.add(UNPROCESSABLE, "to", None, "must be later than `from`");
        }
        for unknown in self.0.keys().take(MAX_UNKNOWN_MEMBERS) {
            faults.add(BAD_REQUEST, unknown, None, "is not known here");
        }
        faults.into_result()?;
        Ok((ReportRequest { numbers, from, to }, id.to_string()))
    }

    fn phones(&mut self, faults: &mut Faults) -> Vec<Phone> {
        let (field, numbers) = match (self.0.remove("numbers"), self.0.remove("phones")) {
            (Some(numbers), None) => ("numbers", numbers),
            (None, Some(numbers)) => ("phones", numbers),
            (None, None) => {
                faults.add(
                    BAD_REQUEST,
                    "numbers",
                    None,
                    "is missing: send a list of phones",
                );
                return Vec::new();
            }
            (Some(_), Some(_)) => {
                let fault = "means the same as `numbers`: send one of them";
                faults.add(UNPROCESSABLE, "phones", None, fault);
                return Vec::new();
            }
        };
        let Value::Array(numbers) = numbers else {
            faults.add(BAD_REQUEST, field, None, "takes a list of phones");
            return Vec::new();
        };
        if !(1..=MAX_NUMBERS).contains(&numbers.len()) {
            let count = numbers.len();
            let fault = format!("has {count} entries; it takes 1 to {MAX_NUMBERS}");
            faults.add(UNPROCESSABLE, field, None, fault);
        }
        let (mut phones, mut seen) = (Vec::new(), HashSet::new());
        for entry in numbers.iter().enumerate().take(MAX_NUMBERS) {
            match phone(entry.1) {
                Ok(phone) if seen.insert(phone) => phones.push(phone),
                Ok(_) => faults.add(UNPROCESSABLE, field, Some(entry), "is there twice"),
                Err(status) => {
                    let fault = format!("is no whole number from 0 to {}", Phone::MAX);
                    faults.add(status, field, Some(entry), fault);
                }
            }
        }
        phones
    }

    fn time(&mut self, name: &str, faults: &mut Faults) -> Option<DateTime<Utc>> {
        let time = self.0.remove(name).filter(|time| !time.is_null())?;
        let time = DateTime::<Utc>::deserialize(time);
        if time.is_err() {
            let fault = "takes a time like 2024-01-31T00:00:00Z (RFC 3339)";
            faults.add(BAD_REQUEST, name, None, fault);
        }
        time.ok()
    }
}

/// Parses a phone; the error is the status of the fault.
fn phone(number: &Value) -> Result<Phone, u16> {
    let number = match number {
        Value::Number(number) if is_whole(number) => number,
        _ => return Err(BAD_REQUEST),
    };
    let number = number.as_u64().ok_or(UNPROCESSABLE)?;
    Phone::try_from(number).map_err(|_larger| UNPROCESSABLE)
}

/// Whether a number is written as a whole number; it may exceed 64 bits.
fn is_whole(number: &Number) -> bool {
    let beyond_64_bits = |number: f64| number.abs() >= 2_f64.powi(63);
    !number.is_f64() || number.as_f64().is_some_and(beyond_64_bits)
}

/// The status of the fault of a correlation id; none if it is valid.
fn correlation_id_fault(id: &Value) -> Option<u16> {
    match id {
        Value::Null => None,
        Value::String(name) => (name.chars().count() > MAX_CORRELATION_ID).then_some(UNPROCESSABLE),
        Value::Number(number) if is_whole(number) => number.is_f64().then_some(UNPROCESSABLE),
        _ => Some(BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(wanted: &Value) -> Result<(ReportRequest, String), u16> {
        let members: Members =
            serde_json::from_value(wanted.clone()).map_err(|_malformed| 400_u16)?;
        members.parse().map_err(|problem| problem.status())
    }

    #[test]
    fn limits_hold_at_n_and_not_at_n_and_one() {
        let numbers = |count: usize| json!({ "numbers": (0..count).collect::<Vec<_>>() });
        assert!(parse(&numbers(1)).is_ok() && parse(&numbers(1_000)).is_ok());
        assert_eq!(parse(&numbers(0)), Err(422));
        assert_eq!(parse(&numbers(1_001)), Err(422));
        for (number, status) in [
            (json!(1_000_000_000_000_000_u64), None),
            (json!(1_000_000_000_000_001_u64), Some(422)),
            (json!(1e30), Some(422)),
            (json!(-1), Some(422)),
            (json!(1.5), Some(400)),
            (json!("1"), Some(400)),
            (json!(null), Some(400)),
        ] {
            let parsed = parse(&json!({ "numbers": [number] }));
            assert_eq!(parsed.err(), status, "{number}");
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
        ] {
            let parsed = parse(&json!({ "phones": [1], "correlation_id": id }));
            assert_eq!(parsed.ok().map(|(_, id)| id).as_deref(), shown, "{id}");
        }
        for (id, status) in [
            (json!("ü".repeat(256)), 422),
            (json!(1e30), 422),
            (json!(1.5), 400),
            (json!(true), 400),
            (json!([1]), 400),
        ] {
            let parsed = parse(&json!({ "phones": [1], "correlation_id": id }));
            assert_eq!(parsed, Err(status), "{id}");
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
        assert_eq!(parse(&json!({ "correlation_id": "x" })), Err(400));
        assert_eq!(parse(&json!({ "numbers": null, "phones": [1] })), Err(422));
        assert_eq!(parse(&json!({ "numbers": 1 })), Err(400));
        assert_eq!(parse(&json!({ "numbers": [1], "other": 1 })), Err(400));
    }

    #[test]
    fn a_request_reaches_the_worker_as_it_was_made() {
        let wanted = json!({ "numbers": [3, 1], "from": "2024-01-01T00:00:00.5Z" });
        let (request, _) = parse(&wanted).expect("it is one");
        let payload = serde_json::to_vec(&request).expect("it is plain data");
        assert_eq!(
            serde_json::from_slice::<ReportRequest>(&payload).ok(),
            Some(request)
        );
    }
}
