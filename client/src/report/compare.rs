//! Compares two runs, if they say something about each other.

use std::fmt::Write;
use std::path::Path;

use super::document::{Document, Figures, SCHEMA_VERSION, Settings, VerdictWord};
use crate::error::Error;
use crate::stats::Latency;

/// Returns a table of both runs' figures and their ratio.
pub(crate) fn compare(before: &Path, after: &Path) -> Result<String, Error> {
    let (one, other) = (load(before)?, load(after)?);
    let (Some(old), Some(new)) = (&one.settings, &other.settings) else {
        return Err(Error::Incomparable(
            "one of them was judged only, not run".to_owned(),
        ));
    };
    let differences = differences(old, new);
    if !differences.is_empty() {
        return Err(Error::Incomparable(format!(
            "they differ in {}",
            differences.join(", ")
        )));
    }
    let (Some(old), Some(new)) = (&one.figures, &other.figures) else {
        return Err(Error::Incomparable("one of them has no figures".to_owned()));
    };
    if old.interrupted || new.interrupted {
        return Err(Error::Incomparable(
            "one of them was interrupted".to_owned(),
        ));
    }
    Ok(table(&one, &other, old, new))
}

fn load(path: &Path) -> Result<Document, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let broken = |reason: String| Error::Content {
        path: path.to_owned(),
        reason,
    };
    let document: Document = serde_json::from_str(&text)
        .map_err(|error| broken(format!("not what --output-format json writes: {error}")))?;
    if !(1..=SCHEMA_VERSION).contains(&document.schema_version) {
        let reason = format!(
            "schema_version {}, but this client reads 1 to {SCHEMA_VERSION}",
            document.schema_version
        );
        return Err(broken(reason));
    }
    Ok(document)
}

/// Returns what was set differently and changes the load. Seeds and addresses do not.
fn differences(old: &Settings, new: &Settings) -> Vec<String> {
    let both = load_of(old).into_iter().zip(load_of(new));
    both.filter(|((_, old), (_, new))| old != new)
        .map(|((name, old), (_, new))| format!("{name} ({old} and {new})"))
        .collect()
}

fn load_of(settings: &Settings) -> [(&'static str, String); 10] {
    let optional = |value: Option<f64>| value.map_or("none".to_owned(), |value| value.to_string());
    let length = settings.text_length;
    let length = length.map_or("any".to_owned(), |length| length.to_string());
    [
        ("replicas", settings.urls.len().to_string()),
        ("users", settings.users.len().to_string()),
        ("concurrency", settings.concurrency.to_string()),
        ("requests", optional(settings.requests.map(f64::from))),
        ("duration in ms", optional(settings.duration_ms)),
        ("rate", optional(settings.rate)),
        ("warm-up", settings.warmup.to_string()),
        ("text length", length),
        ("retries", settings.retries.to_string()),
        ("checking", settings.checked.to_string()),
    ]
}

fn table(one: &Document, other: &Document, old: &Figures, new: &Figures) -> String {
    let mut text = format!(
        "{:24} {:>14} {:>14} {:>9}\n",
        "", "before", "after", "ratio"
    );
    let mut row = |name: &str, old: f64, new: f64| {
        let ratio = if old > 0.0 {
            format!("{:.3}", new / old)
        } else {
            "-".to_owned()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:24} {old:>14.3} {new:>14.3} {ratio:>9}");
    };
    row(
        "throughput, messages/s",
        old.throughput_per_second,
        new.throughput_per_second,
    );
    row("total time, ms", old.total_time_ms, new.total_time_ms);
    row("client CPU, ms", old.client_cpu_ms, new.client_cpu_ms);
    if let (Some(old), Some(new)) = (&old.total.latency, &new.total.latency) {
        latency(&mut row, old, new);
    }
    for (name, old, new) in [
        ("ok", old.total.ok, new.total.ok),
        ("failed", old.total.failed, new.total.failed),
        ("unknown", old.total.unknown, new.total.unknown),
    ] {
        row(
            name,
            f64::from(u32::try_from(old).unwrap_or(u32::MAX)),
            f64::from(u32::try_from(new).unwrap_or(u32::MAX)),
        );
    }
    let _ = writeln!(
        text,
        "{:24} {:>14} {:>14}",
        "verdict",
        word(one.verdict),
        word(other.verdict)
    );
    text
}

fn latency(row: &mut impl FnMut(&str, f64, f64), old: &Latency, new: &Latency) {
    row("mean latency, ms", old.mean_ms, new.mean_ms);
    for percentile in &old.percentiles {
        let same = new
            .percentiles
            .iter()
            .find(|other| (other.percent - percentile.percent).abs() < 1e-9);
        if let Some(same) = same {
            row(
                &format!("p{}, ms", percentile.percent),
                percentile.value_ms,
                same.value_ms,
            );
        }
    }
}

fn word(verdict: VerdictWord) -> &'static str {
    match verdict {
        VerdictWord::Valid => "valid",
        VerdictWord::Invalid => "INVALID",
        VerdictWord::Unknown => "unknown",
        VerdictWord::NotJudged => "not judged",
    }
}
