//! How each fault affected requests.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};

use testbed::{Audit, FinishedRun, Outcome, Request};

use crate::InjectedFault;

const INFALLIBLE: &str = "a String takes all that is written to it";

/// Totals of all faults of a kind.
#[derive(Debug, Default)]
struct Row {
    faults: usize,
    times: usize,
    ok: usize,
    /// Successful requests that took more than one attempt.
    retried: usize,
    failed: usize,
    unknown: usize,
    max_pause: TimeDelta,
}

impl Row {
    fn count(&mut self, request: &Request) {
        match request.outcome {
            Outcome::Answered(_) => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
        }
        self.retried +=
            usize::from(request.attempts > 1 && matches!(request.outcome, Outcome::Answered(_)));
    }
}

/// Makes a table with one line per kind of fault. A request counts for the last fault before its end, a pause for the last fault
/// before its middle.
pub(crate) fn report(
    faults: &[InjectedFault],
    requests: &[Request],
    client: &FinishedRun,
    audit: &Audit,
) -> String {
    let mut table = format!(
        "{:46}{:>7}{:>7}{:>9}{:>9}{:>8}{:>9}{:>15}\n",
        "fault", "faults", "times", "ok", "retried", "failed", "unknown", "longest pause"
    );
    for (kind, row) in rows(faults, requests) {
        let pause = format!("{:.1} s", row.max_pause.as_seconds_f64());
        writeln!(
            table,
            "{kind:46}{:>7}{:>7}{:>9}{:>9}{:>8}{:>9}{pause:>15}",
            row.faults, row.times, row.ok, row.retried, row.failed, row.unknown
        )
        .expect(INFALLIBLE);
    }
    write!(
        table,
        "client: {}; stored {}, lost {}, refused but stored {}, unexplained {}, rows in ordering_violations {}; \
         unknown and stored {}, unknown and not stored {}",
        if client.is_valid() { "valid" } else { "INVALID" },
        audit.stored,
        audit.lost,
        audit.refused_and_stored,
        audit.unexplained,
        audit.violations,
        audit.unknown_stored,
        audit.unknown_absent
    )
    .expect(INFALLIBLE);
    table
}

fn rows(faults: &[InjectedFault], history: &[Request]) -> BTreeMap<&'static str, Row> {
    let kind_at = |time: DateTime<Utc>| {
        let before = faults.partition_point(|done| DateTime::<Utc>::from(done.began) <= time);
        before
            .checked_sub(1)
            .map_or("(before the first)", |last| faults[last].fault.kind())
    };
    let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
    for done in faults {
        let row = rows.entry(done.fault.kind()).or_default();
        row.faults += 1;
        row.times += done.times;
    }
    for request in history {
        rows.entry(kind_at(request.ended))
            .or_default()
            .count(request);
    }
    let mut answers: Vec<_> = history
        .iter()
        .filter(|request| matches!(request.outcome, Outcome::Answered(_)))
        .map(|request| request.ended)
        .collect();
    answers.sort_unstable();
    for pair in answers.windows(2) {
        let pause = pair[1] - pair[0];
        let row = rows.entry(kind_at(pair[0] + pause / 2)).or_default();
        row.max_pause = row.max_pause.max(pause);
    }
    rows
}
