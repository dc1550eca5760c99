//! Checks reports against each other: all are for the same phones, and the calls do not change during a run. Pure.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::report_client::{FinishedReport, Outcome};

/// Most contradictions that are printed; further ones are only counted.
const MAX_SHOWN: usize = 5;

/// Checks reports as they are received.
#[derive(Debug)]
pub(super) struct Validator {
    phones: Vec<u64>,
    /// The correlation id and the data of the first report that could be checked.
    first: Option<(String, Value)>,
    contradictions: u64,
    messages: Vec<String>,
}

/// The members of a report that are checked.
#[derive(Deserialize)]
struct Report {
    data: Value,
    correlation_id: Value,
}

#[derive(Deserialize)]
struct Row {
    phone: u64,
    cnt_all_attempts: u64,
    cnt_att_dur: Classes,
}

#[derive(Deserialize)]
struct Classes {
    #[serde(rename = "10_sec")]
    short: u64,
    #[serde(rename = "10_30_sec")]
    medium: u64,
    #[serde(rename = "30_sec")]
    long: u64,
}

impl Row {
    fn is_sum_of_classes(&self) -> bool {
        let Classes {
            short,
            medium,
            long,
        } = self.cnt_att_dur;
        let sum = [short, medium, long]
            .into_iter()
            .map(u128::from)
            .sum::<u128>();
        sum == u128::from(self.cnt_all_attempts)
    }
}

impl Validator {
    /// Checks reports for these phones, in this order.
    pub(super) fn new(phones: Vec<u64>) -> Self {
        Self {
            phones,
            first: None,
            contradictions: 0,
            messages: Vec::new(),
        }
    }

    /// Checks one report.
    pub(super) fn check(&mut self, finished: &FinishedReport) {
        let contradiction = match &finished.outcome {
            Outcome::Failed(_) => None,
            Outcome::Contradiction(why) => Some(why.clone()),
            Outcome::Report(report) => self.contradiction(&finished.correlation_id, report.get()),
        };
        if let Some(why) = contradiction {
            self.contradictions += 1;
            if self.messages.len() < MAX_SHOWN {
                self.messages
                    .push(format!("{}: {why}", finished.correlation_id));
            }
        }
    }

    /// Whether no report contradicts the contract or another report.
    pub(super) fn is_valid(&self) -> bool {
        self.contradictions == 0
    }

    fn contradiction(&mut self, correlation_id: &str, text: &str) -> Option<String> {
        let (report, rows) = match parse(text) {
            Ok(parsed) => parsed,
            Err(error) => return Some(format!("this is no report: {error}")),
        };
        if report.correlation_id != correlation_id {
            return Some(format!("the report is for {}", report.correlation_id));
        }
        let phones: Vec<u64> = rows.iter().map(|row| row.phone).collect();
        if phones != self.phones {
            return Some(format!("the report is for phones {phones:?}"));
        }
        if let Some(row) = rows.iter().find(|row| !row.is_sum_of_classes()) {
            let Row {
                phone,
                cnt_all_attempts,
                ..
            } = row;
            return Some(format!(
                "phone {phone} has {cnt_all_attempts} attempts, and its classes another sum"
            ));
        }
        self.difference(correlation_id, report.data)
    }

    /// How the data differs from that of the first report, if it does.
    fn difference(&mut self, correlation_id: &str, data: Value) -> Option<String> {
        let Some((first_id, first)) = &self.first else {
            self.first = Some((correlation_id.to_owned(), data));
            return None;
        };
        let rows = data.as_array().into_iter().flatten();
        let firsts = first.as_array().into_iter().flatten();
        let (here, there) = rows.zip(firsts).find(|(here, there)| here != there)?;
        Some(format!(
            "the report says {here}, and that of {first_id} {there}"
        ))
    }
}

fn parse(text: &str) -> Result<(Report, Vec<Row>), serde_json::Error> {
    let report: Report = serde_json::from_str(text)?;
    let rows = Vec::<Row>::deserialize(&report.data)?;
    Ok((report, rows))
}

impl fmt::Display for Validator {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_valid() && self.first.is_none() {
            return write!(to, "unknown: there is no report that could be judged");
        }
        if self.is_valid() {
            return write!(to, "valid: no report contradicts another, or itself");
        }
        write!(to, "INVALID: {} contradictions", self.contradictions)?;
        let mut messages = self.messages.iter();
        messages.try_for_each(|message| write!(to, "\n  {message}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn row(phone: u64, calls: u64) -> Value {
        json!({
            "phone": phone, "cnt_all_attempts": calls,
            "cnt_att_dur": {"10_sec": calls, "10_30_sec": 0, "30_sec": 0}, "min_price_att": 0.5,
        })
    }

    fn report(id: &str, data: &[Value]) -> (String, Value) {
        (id.to_owned(), json!({"data": data, "correlation_id": id}))
    }

    /// How many of the reports contradict something.
    fn contradictions(reports: impl IntoIterator<Item = (String, Value)>) -> u64 {
        let mut validator = Validator::new(vec![1, 2]);
        for (correlation_id, report) in reports {
            validator.check(&FinishedReport {
                correlation_id,
                latency: Duration::ZERO,
                retries: 0,
                outcome: Outcome::Report(to_raw_value(&report).expect("it is JSON")),
            });
        }
        validator.contradictions
    }

    #[test]
    fn equal_reports_of_different_requests_are_valid() {
        let data = [row(1, 5), row(2, 0)];
        assert_eq!(contradictions([report("a", &data), report("b", &data)]), 0);
    }

    #[test]
    fn each_kind_of_lie_is_found() {
        let good = report("a", &[row(1, 5), row(2, 6)]);
        let mut other_price = row(2, 6);
        other_price["min_price_att"] = json!(0.51);
        let mut other_sum = row(2, 6);
        other_sum["cnt_att_dur"]["30_sec"] = json!(1);
        let of_another = ("b".to_owned(), good.1.clone());
        for lie in [
            report("b", &[row(1, 5), other_price]),
            report("b", &[row(1, 5), other_sum]),
            report("b", &[row(1, 5), row(2, 7)]),
            report("b", &[row(2, 6), row(1, 5)]),
            report("b", &[row(1, 5)]),
            report("b", &[row(1, 5), row(2, 6), row(3, 6)]),
            of_another,
            ("b".to_owned(), json!({})),
            ("b".to_owned(), json!(null)),
        ] {
            assert_eq!(contradictions([good.clone(), lie.clone()]), 1, "{lie:?}");
        }
    }
}
