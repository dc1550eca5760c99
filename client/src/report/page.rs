//! Reports the results as a page: one file without script and without network, charts drawn as SVG, readable in light
//! and dark.

mod charts;
mod svg;
mod timeline;

use std::fmt::Write;

use self::svg::escape;
use super::{INTERRUPTED, REPEATED, Results};
use crate::stats::{Latency, Stats};
use crate::verify::{Check, Judgement, Verdict};

const STYLE: &str = include_str!("page/style.css");

/// The policy of the page: nothing but the style in the file itself may be loaded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Renders the results as a page.
pub(crate) fn render(results: &Results<'_>) -> String {
    let mut body = String::new();
    body.push_str(&verdict(results));
    if let Some(run) = &results.run {
        body.push_str(&headline(run.stats));
        body.push_str(&charts::all(results.history, run.stats));
        body.push_str(&tables(results, run.stats));
    }
    if let Some(judgement) = results.judgement {
        body.push_str(&checks(judgement));
        body.push_str(&contradictions(results, judgement));
    }
    let subtitle = results.run.as_ref().map_or(String::new(), |run| {
        let settings = &run.settings;
        format!(
            "<p class=\"quiet\">{} coroutines, {} users, {} replicas, seed {}</p>",
            settings.concurrency,
            settings.users.len(),
            settings.urls.len(),
            settings.seed
        )
    });
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>DummyMessenger: a run</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>DummyMessenger: a run</h1>\n{subtitle}\n{body}</main>\n</body>\n</html>\n"
    )
}

fn verdict(results: &Results<'_>) -> String {
    let (class, text) = match results.judgement {
        None => ("open", "not judged".to_owned()),
        Some(judgement) => match judgement.verdict {
            Verdict::Valid => (
                "good",
                format!(
                    "{}: no promise is broken ({} checks)",
                    results.valid(),
                    Check::all().len()
                ),
            ),
            Verdict::Unknown => ("open", "unknown: no request was answered".to_owned()),
            Verdict::Invalid => {
                let checks = judgement.violations.keys();
                let names: Vec<&str> = checks.map(|check| check.name()).collect();
                ("bad", format!("INVALID: {}", names.join(", ")))
            }
        },
    };
    let interrupted = if results.is_interrupted() {
        format!("<p class=\"quiet\">{INTERRUPTED}</p>\n")
    } else {
        String::new()
    };
    format!(
        "<p class=\"verdict {class}\" id=\"verdict\">{}</p>\n{interrupted}",
        escape(&text)
    )
}

fn headline(stats: &Stats) -> String {
    let mean = stats
        .total
        .latency
        .as_ref()
        .map_or("–".to_owned(), |latency| {
            format!("{:.3} ms", latency.mean_ms)
        });
    let numbers = [
        ("Total time", format!("{:.3} s", stats.wall.as_secs_f64())),
        ("Mean latency", mean),
        (
            "Throughput",
            format!("{:.0} messages/s", stats.throughput()),
        ),
    ];
    let numbers =
        numbers.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
    let numbers = numbers.concat();
    format!("<dl class=\"headline\">{numbers}</dl>\n")
}

fn tables(results: &Results<'_>, stats: &Stats) -> String {
    let mut rows = String::new();
    let groups = results
        .history
        .settings
        .replicas
        .iter()
        .map(String::as_str)
        .zip(&stats.replicas);
    for (name, group) in groups.chain([("all", &stats.total)]) {
        let latency = group.latency.as_ref();
        let cell =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            group.sent,
            group.ok,
            group.failed,
            group.unknown,
            cell(latency.map(|latency| latency.mean_ms)),
            cell(latency.and_then(highest_percentile)),
        );
    }
    let head = "<tr><th>Replica</th><th>sent</th><th>ok</th><th>failed</th><th>unknown</th><th>mean, ms</th><th>p99, ms</th></tr>";
    let mut text =
        format!("<h2>Replicas</h2>\n<div class=\"wide\"><table>{head}\n{rows}</table></div>\n");
    if stats.repeated > 0 {
        let _ = writeln!(text, "<p class=\"quiet\">{REPEATED}</p>");
    }
    if !stats.kinds.is_empty() {
        let mut kinds = String::new();
        for (reason, count) in &stats.kinds {
            let reason = escape(&reason.to_string());
            let _ = writeln!(
                kinds,
                "<tr><td>{count}</td><th scope=\"row\">{reason}</th></tr>"
            );
        }
        let _ = write!(
            text,
            "<h2>Failed or unknown</h2>\n<div class=\"wide\"><table>{kinds}</table></div>\n"
        );
    }
    text
}

/// Returns the 99th percentile, if the sample supports it.
fn highest_percentile(latency: &Latency) -> Option<f64> {
    let found = latency
        .percentiles
        .iter()
        .find(|figure| (figure.percent - 99.0).abs() < 1e-9);
    found.map(|figure| figure.value_ms)
}

fn checks(judgement: &Judgement) -> String {
    let mut rows = String::new();
    for check in Check::all() {
        let found = judgement.violations.get(check);
        let (class, count) = found.map_or(("good", 0), |violations| ("bad", violations.count));
        let word = if count == 0 {
            "kept".to_owned()
        } else {
            format!("{count} violations")
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td><td class=\"text\">{}</td></tr>",
            check.code(),
            escape(check.name()),
            escape(check.meaning())
        );
    }
    let coverage = &judgement.coverage;
    format!(
        "<h2>Checks</h2>\n<div class=\"wide\"><table>{rows}</table></div>\n\
         <p>Judged from {} replies showing {} messages, and {} pages: {} ordered pairs, {} of them across replicas.</p>\n",
        coverage.replies,
        coverage.messages,
        coverage.pages,
        coverage.ordered_pairs,
        coverage.ordered_pairs_across_replicas
    )
}

fn contradictions(results: &Results<'_>, judgement: &Judgement) -> String {
    let mut text = String::new();
    for (check, violations) in &judgement.violations {
        let _ = writeln!(
            text,
            "<h2 class=\"bad\">{} ({}): {} violations</h2>",
            escape(check.name()),
            check.code(),
            violations.count
        );
        for contradiction in &violations.worst {
            let _ = writeln!(text, "<pre>{}</pre>", escape(&contradiction.explanation));
            text.push_str(&timeline::around(results.history, &contradiction.ops));
        }
    }
    text
}
