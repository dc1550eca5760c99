//! Formats the parts of explanations: requests, messages, pages and times.

use std::fmt::Write;

use super::facts::Facts;
use crate::history::{Outcome, Page, Phase, SeenMessage, ShownMessage};
use crate::stats::{self, to_float};

/// Describes a request: `coroutine 12 request 37 -> 127.0.0.1:8001  sent 0.412311 s  answered 0.418020 s  seq 1873`.
fn request(facts: &Facts<'_>, op: u32) -> String {
    let op = facts.op(op);
    let mut line = match op.phase {
        Phase::Probe => format!("final probe {}", op.request),
        Phase::WarmUp => format!("coroutine {} warm-up request {}", op.coroutine, op.request),
        Phase::Measured => format!("coroutine {} request {}", op.coroutine, op.request),
    };
    let replica = replica(facts, op.replica);
    let _ = write!(line, " -> {replica}  sent {}", seconds(op.start_ns));
    let _ = match op.outcome {
        Outcome::Ok => write!(line, "  answered {}", seconds(op.end_ns)),
        Outcome::Failed(reason) => write!(line, "  failed {}: {reason}", seconds(op.end_ns)),
        Outcome::Unknown(reason) => {
            write!(line, "  outcome unknown {}: {reason}", seconds(op.end_ns))
        }
    };
    if op.seq != 0 {
        let _ = write!(line, "  seq {}", op.seq);
    }
    line
}

/// Describes a page: `page of 127.0.0.1:8001  asked for 0.512000 s  answered 0.513120 s`.
pub(super) fn page(facts: &Facts<'_>, page: &Page) -> String {
    format!(
        "page of {}  asked for {}  answered {}",
        replica(facts, page.replica),
        seconds(page.start_ns),
        seconds(page.end_ns)
    )
}

/// Returns a replica's URL without its scheme, which is the same for all.
fn replica<'a>(facts: &Facts<'a>, replica: u16) -> &'a str {
    let urls = &facts.history.settings.replicas;
    let url = urls.get(usize::from(replica)).map_or("?", String::as_str);
    url.rsplit_once("//").map_or(url, |(_, host)| host)
}

/// Formats the beginning of an explanation: the requests involved, as A and B.
pub(super) fn requests(facts: &Facts<'_>, ops: &[u32]) -> String {
    let mut lines = String::new();
    for (name, op) in ["Let A", "    B"].into_iter().zip(ops) {
        let _ = writeln!(lines, "{name} = {}", request(facts, *op));
    }
    lines
}

/// Describes a shown message: its number, user, date and text.
pub(super) fn message(facts: &Facts<'_>, shown: &ShownMessage) -> String {
    let ShownMessage {
        seq,
        user_seq,
        user,
        sent_at_us,
        ..
    } = *shown;
    let name = facts.history.names.name(user);
    format!(
        "seq {seq}, user {name:?}, user_seq {user_seq}, sent_at {}, {}",
        instant(sent_at_us),
        text(facts, shown.text)
    )
}

/// Formats the messages that the replies of A and B show.
pub(super) fn shown_by_both(facts: &Facts<'_>, one: &SeenMessage, other: &SeenMessage) -> String {
    format!(
        "A's reply shows {}\nB's reply shows {}\n",
        message(facts, &one.shown),
        message(facts, &other.shown)
    )
}

/// Describes a text by the request that sent it, or by its first characters if this run did not send it.
pub(super) fn text(facts: &Facts<'_>, digest: u64) -> String {
    if let Some(foreign) = facts.history.foreign.get(&digest) {
        return format!("text {foreign:?}");
    }
    match facts.history.ops.iter().find(|op| op.text == digest) {
        Some(op) => format!(
            "the text of coroutine {} request {}",
            op.coroutine, op.request
        ),
        None => "a text that is not this run's".to_owned(),
    }
}

/// Says that a reply lacks the request's own message, and which message it ends with.
pub(super) fn without_own(facts: &Facts<'_>, window: &[ShownMessage]) -> String {
    match window.last() {
        None => "A's own message is missing.".to_owned(),
        Some(last) => format!(
            "A's own message is missing; the last one is {}.",
            text(facts, last.text)
        ),
    }
}

/// Lists the numbers of a reply: `5, 6, 8`; of more than 12, only the first 12 and how many there are.
pub(super) fn seqs(window: &[ShownMessage]) -> String {
    const MAX_SHOWN: usize = 12;
    let mut all: Vec<String> = window
        .iter()
        .take(MAX_SHOWN)
        .map(|shown| shown.seq.to_string())
        .collect();
    if window.len() > MAX_SHOWN {
        all.push(format!("… ({} in all)", window.len()));
    }
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all.join(", ")
    }
}

/// Formats a time as seconds since the run began.
pub(super) fn seconds(nanoseconds: u64) -> String {
    format!("{:.6} s", to_float(nanoseconds / 1000) / 1e6)
}

/// Formats the time between two instants as milliseconds.
pub(super) fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3} ms", stats::milliseconds(nanoseconds))
}

/// Formats microseconds since 1970 as a date of RFC 3339.
pub(super) fn instant(microseconds: i64) -> String {
    chrono::DateTime::from_timestamp_micros(microseconds).map_or_else(
        || format!("{microseconds} µs"),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}
