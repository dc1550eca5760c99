//! Renders the results as an HTML page: one file without scripts and network requests, with charts in SVG, in a light and a dark
//! theme.

mod charts;
mod svg;
mod timeline;

use std::fmt::Write;

use self::svg::escape;
use super::{Document, INTERRUPTED, REPEATED, Settings};
use crate::history::History;
use crate::stats::{ErrorCount, Figures, Latency};
use crate::verify::{Coverage, Verdict};

const STYLE: &str = include_str!("page/style.css");

/// The Content-Security-Policy of the page: it loads only the style in the file itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Renders the results as an HTML page.
pub(crate) fn render(document: &Document, history: &History) -> String {
    let mut body = verdict(document);
    if let (Some(settings), Some(figures)) = (&document.settings, &document.figures) {
        body.push_str(&headline(figures));
        body.push_str(&charts::all(history, figures));
        body.push_str(&tables(settings, figures));
    }
    if let Some(coverage) = &document.coverage {
        body.push_str(&checks(document, coverage));
        body.push_str(&contradictions(document, history));
    }
    let subtitle = document
        .settings
        .as_ref()
        .map_or(String::new(), |settings| {
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

fn verdict(document: &Document) -> String {
    let (class, text) = match document.verdict {
        Verdict::NotJudged => ("open", "not judged".to_owned()),
        Verdict::Valid => (
            "good",
            format!(
                "{}: no promise is broken ({} checks)",
                document.valid_verdict(),
                document.checks.len()
            ),
        ),
        Verdict::Unknown => ("open", "unknown: no request was answered".to_owned()),
        Verdict::Invalid => {
            let names: Vec<&str> = document
                .violated_checks()
                .map(|check| &*check.name)
                .collect();
            ("bad", format!("INVALID: {}", names.join(", ")))
        }
    };
    let interrupted = if document.is_interrupted() {
        format!("<p class=\"quiet\">{INTERRUPTED}</p>\n")
    } else {
        String::new()
    };
    format!(
        "<p class=\"verdict {class}\" id=\"verdict\">{}</p>\n{interrupted}",
        escape(&text)
    )
}

fn headline(figures: &Figures) -> String {
    let latency = figures.total.latency.as_ref();
    let mean = latency.map_or("–".to_owned(), |latency| {
        format!("{:.3} ms", latency.mean_ms)
    });
    let numbers = [
        (
            "Total time",
            format!("{:.3} s", figures.total_time_ms / 1000.0),
        ),
        ("Mean latency", mean),
        (
            "Throughput",
            format!("{:.0} messages/s", figures.throughput_per_second),
        ),
    ];
    let numbers =
        numbers.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
    let numbers = numbers.concat();
    format!("<dl class=\"headline\">{numbers}</dl>\n")
}

fn tables(settings: &Settings, figures: &Figures) -> String {
    let mut rows = String::new();
    let urls = settings.urls.iter().map(String::as_str);
    let groups = urls.zip(&figures.replicas);
    for (name, group) in groups.chain([("all", &figures.total)]) {
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
            cell(latency.and_then(percentile_99)),
        );
    }
    let head = "<tr><th>Replica</th><th>sent</th><th>ok</th><th>failed</th><th>unknown</th><th>mean, ms</th><th>p99, ms</th></tr>";
    let mut text =
        format!("<h2>Replicas</h2>\n<div class=\"wide\"><table>{head}\n{rows}</table></div>\n");
    if figures.repeated > 0 {
        let _ = writeln!(text, "<p class=\"quiet\">{REPEATED}</p>");
    }
    if !figures.errors.is_empty() {
        let mut kinds = String::new();
        for ErrorCount { kind, count } in &figures.errors {
            let kind = escape(kind);
            let _ = writeln!(
                kinds,
                "<tr><td>{count}</td><th scope=\"row\">{kind}</th></tr>"
            );
        }
        let _ = write!(
            text,
            "<h2>Failed or unknown</h2>\n<div class=\"wide\"><table>{kinds}</table></div>\n"
        );
    }
    text
}

/// Returns the 99th percentile in milliseconds, if there are enough samples for it.
fn percentile_99(latency: &Latency) -> Option<f64> {
    let found = latency
        .percentiles
        .iter()
        .find(|figure| (figure.percent - 99.0).abs() < 1e-9);
    found.map(|figure| figure.value_ms)
}

fn checks(document: &Document, coverage: &Coverage) -> String {
    let mut rows = String::new();
    for check in &document.checks {
        let (class, word) = match check.violations {
            0 => ("good", "kept".to_owned()),
            count => ("bad", format!("{count} violations")),
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td><td class=\"text\">{}</td></tr>",
            check.code,
            escape(&check.name),
            escape(&check.promise)
        );
    }
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

fn contradictions(document: &Document, history: &History) -> String {
    let mut text = String::new();
    for check in document.violated_checks() {
        let _ = writeln!(
            text,
            "<h2 class=\"bad\">{} ({}): {} violations</h2>",
            escape(&check.name),
            check.code,
            check.violations
        );
        for (example, ops) in check.examples.iter().zip(&check.ops) {
            let _ = writeln!(text, "<pre>{}</pre>", escape(example));
            text.push_str(&timeline::render(history, ops));
        }
    }
    text
}
