//! Renders one line for each request, for a spreadsheet or a plot. Times are milliseconds since the start of the run; a latency
//! counts from when the request was due.

use std::fmt::Write;

use crate::history::{History, Outcome, Phase};

const HEADER: &str =
    "phase,coroutine,request,replica,user,due_ms,start_ms,latency_ms,outcome,reason,attempts,seq\n";

pub(crate) fn render(history: &History) -> String {
    let mut lines = HEADER.to_owned();
    for op in &history.ops {
        let phase = match op.phase {
            Phase::WarmUp => "warmup",
            Phase::Measured => "measured",
            Phase::Probe => "probe",
        };
        let (outcome, reason) = match op.outcome {
            Outcome::Ok => ("ok", String::new()),
            Outcome::Failed(reason) => ("failed", reason.to_string()),
            Outcome::Unknown(reason) => ("unknown", reason.to_string()),
        };
        let replica = history
            .settings
            .replicas
            .get(usize::from(op.replica))
            .map_or("", String::as_str);
        let seq = if op.seq == 0 {
            String::new()
        } else {
            op.seq.to_string()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            "{phase},{},{},{},{},{},{},{},{outcome},{},{},{seq}",
            op.coroutine,
            op.request,
            quoted(replica),
            quoted(history.names.name(op.user)),
            milliseconds(op.intended_ns),
            milliseconds(op.start_ns),
            milliseconds(op.latency_ns()),
            quoted(&reason),
            op.attempts
        );
    }
    lines
}

/// Quotes a field if it needs that, by RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Formats nanoseconds as milliseconds with six decimals, which is exact.
fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:06}", nanoseconds / 1_000_000, nanoseconds % 1_000_000)
}
