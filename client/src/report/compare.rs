//! Compares the figures of two runs, if their load is the same.

use std::fmt::Write;
use std::path::Path;

use super::document::{Document, SCHEMA_VERSION, Settings};
use crate::error::Error;
use crate::stats::{Figures, to_float};
use crate::verify::Verdict;

/// Returns a table of both runs' figures and their ratio.
pub(crate) fn compare(before: &Path, after: &Path) -> Result<String, Error> {
    let (one, other) = (read_document(before)?, read_document(after)?);
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

fn read_document(path: &Path) -> Result<Document, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let invalid = |reason: String| Error::Content {
        path: path.to_owned(),
        reason,
    };
    let document: Document = serde_json::from_str(&text)
        .map_err(|error| invalid(format!("not what --output-format json writes: {error}")))?;
    if !(1..=SCHEMA_VERSION).contains(&document.schema_version) {
        let reason = format!(
            "schema_version {}, but this client reads 1 to {SCHEMA_VERSION}",
            document.schema_version
        );
        return Err(invalid(reason));
    }
    Ok(document)
}

/// Returns the settings that differ and change the load. Seeds and addresses do not change it.
fn differences(old: &Settings, new: &Settings) -> Vec<String> {
    let both = load_settings(old).into_iter().zip(load_settings(new));
    both.filter(|((_, old), (_, new))| old != new)
        .map(|((name, old), (_, new))| format!("{name} ({old} and {new})"))
        .collect()
}

fn load_settings(settings: &Settings) -> [(&'static str, String); 10] {
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
    let all_new = rows(new);
    for (name, old) in rows(old) {
        let Some((_, new)) = all_new.iter().find(|(other, _)| *other == name) else {
            continue;
        };
        let ratio = if old > 0.0 {
            format!("{:.3}", new / old)
        } else {
            "-".to_owned()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:24} {old:>14.3} {new:>14.3} {ratio:>9}");
    }
    let (old, new) = (verdict_word(one.verdict), verdict_word(other.verdict));
    let _ = writeln!(text, "{:24} {old:>14} {new:>14}", "verdict");
    text
}

/// Returns the figures of a run by name. A figure that the run does not have is absent.
fn rows(figures: &Figures) -> Vec<(String, f64)> {
    let mut rows = vec![
        (
            "throughput, messages/s".to_owned(),
            figures.throughput_per_second,
        ),
        ("total time, ms".to_owned(), figures.total_time_ms),
        ("client CPU, ms".to_owned(), figures.client_cpu_ms),
    ];
    let total = &figures.total;
    if let Some(latency) = &total.latency {
        rows.push(("mean latency, ms".to_owned(), latency.mean_ms));
        let percentiles = latency.percentiles.iter();
        rows.extend(percentiles.map(|one| (format!("p{}, ms", one.percent), one.value_ms)));
    }
    rows.extend([
        ("ok".to_owned(), to_float(total.ok)),
        ("failed".to_owned(), to_float(total.failed)),
        ("unknown".to_owned(), to_float(total.unknown)),
    ]);
    rows
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "INVALID",
        Verdict::Unknown => "unknown",
        Verdict::NotJudged => "not judged",
    }
}
