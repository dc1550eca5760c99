//! Renders the results as text: the verdict, three numbers, then tables.

use std::fmt::{Display, Write};

use super::document::CheckResult;
use super::{Document, INTERRUPTED, REPEATED, Settings};
use crate::output::Style;
use crate::stats::{ErrorCount, Figures, Group};
use crate::verify::{Coverage, Verdict};

macro_rules! line {
    ($page:expr) => { $page.push('\n') };
    ($page:expr, $($rest:tt)*) => {{
        // Writing to a String cannot fail.
        let _ = writeln!($page, $($rest)*);
    }};
}

/// Renders all results, in the order in which they are printed.
pub(super) fn render(document: &Document, style: Style) -> String {
    let mut page = String::new();
    verdict(&mut page, document, style);
    if document.is_interrupted() {
        line!(page, "{INTERRUPTED}\n");
    }
    let run = document.settings.as_ref().zip(document.figures.as_ref());
    if let Some((settings, figures)) = run {
        headline(&mut page, figures);
        requests(&mut page, figures);
        latencies(&mut page, figures);
        replicas(&mut page, settings, figures);
    }
    if let Some(judged) = &document.coverage {
        coverage(&mut page, judged);
    }
    if let Some((settings, figures)) = run {
        client(&mut page, settings, figures);
    }
    for threshold in &document.thresholds {
        let color = if threshold.is_met { GREEN } else { RED };
        line!(page, "Threshold {}", paint(style, color, threshold));
    }
    page
}

const GREEN: &str = "1;32";
const RED: &str = "1;31";

/// Adds a color to text, if the style has colors.
fn paint(style: Style, color: &str, text: impl Display) -> String {
    match style {
        Style::Plain => text.to_string(),
        Style::Colored => format!("\x1b[{color}m{text}\x1b[0m"),
    }
}

fn verdict(page: &mut String, document: &Document, style: Style) {
    match document.verdict {
        Verdict::NotJudged => line!(page, "not judged (--no-check)\n"),
        Verdict::Valid => line!(
            page,
            "{}: no promise is broken ({} checks)\n",
            paint(style, GREEN, document.valid_verdict()),
            document.checks.len()
        ),
        Verdict::Unknown => line!(
            page,
            "unknown: no request was answered, so nothing could be judged\n"
        ),
        Verdict::Invalid => {
            for check in document.violated_checks() {
                let CheckResult {
                    code,
                    name,
                    promise,
                    violations,
                    ..
                } = check;
                let plural = if *violations == 1 { "" } else { "s" };
                let invalid = paint(style, RED, "INVALID");
                line!(
                    page,
                    "{invalid}  {name} ({code}): {violations} violation{plural}"
                );
                line!(page, "  The promise: {promise}.");
                for example in &check.examples {
                    for explanation in example.lines() {
                        line!(page, "  {explanation}");
                    }
                    line!(page);
                }
            }
        }
    }
}

fn headline(page: &mut String, figures: &Figures) {
    line!(
        page,
        "Total time         {:>10.3} s",
        figures.total_time_ms / 1000.0
    );
    match &figures.total.latency {
        Some(latency) => line!(page, "Mean latency       {:>10.3} ms", latency.mean_ms),
        None => line!(
            page,
            "Mean latency                - (no request was answered)"
        ),
    }
    line!(
        page,
        "Throughput         {:>10.1} messages/s",
        figures.throughput_per_second
    );
    line!(page);
}

fn requests(page: &mut String, figures: &Figures) {
    let total = &figures.total;
    line!(
        page,
        "Requests  {} sent = {} ok + {} failed + {} of unknown outcome",
        total.sent,
        total.ok,
        total.failed,
        total.unknown
    );
    for ErrorCount { kind, count } in &figures.errors {
        line!(page, "  {count:>8}  {kind}");
    }
    if figures.repeated > 0 {
        line!(page, "  {:>8}  sent more than once", figures.repeated);
    }
    if total.sent > 0 {
        line!(
            page,
            "  Wall time / requests {:.3} ms: one request after the other would have had that long",
            figures.wall_time_per_request_ms
        );
    }
    line!(page);
}

fn latencies(page: &mut String, figures: &Figures) {
    let all = [
        ("Latency", &figures.total.latency),
        (
            "Latency of those that failed or are unknown",
            &figures.failed_latency,
        ),
    ];
    for (title, latency) in all {
        let Some(latency) = latency else { continue };
        line!(page, "{title}");
        line!(
            page,
            "  min {:.3} ms   mean {:.3} ms   standard deviation {:.3} ms   max {:.3} ms",
            latency.min_ms,
            latency.mean_ms,
            latency.standard_deviation_ms,
            latency.max_ms
        );
        let percentiles: Vec<String> = latency
            .percentiles
            .iter()
            .map(|figure| format!("p{} {:.3} ms", figure.percent, figure.value_ms))
            .collect();
        line!(page, "  {}\n", percentiles.join("   "));
    }
}

fn replicas(page: &mut String, settings: &Settings, figures: &Figures) {
    let width = settings
        .urls
        .iter()
        .map(|url| url.chars().count())
        .max()
        .unwrap_or(0)
        .max("Replica".len());
    line!(
        page,
        "{:width$}  {:>9} {:>9} {:>7} {:>8} {:>10} {:>10}",
        "Replica",
        "sent",
        "ok",
        "failed",
        "unknown",
        "mean",
        "p50"
    );
    for (url, group) in settings.urls.iter().zip(&figures.replicas) {
        let Group {
            ok,
            failed,
            unknown,
            latency,
            sent,
        } = group;
        let median = latency
            .as_ref()
            .and_then(|latency| latency.percentiles.first())
            .map(|figure| figure.value_ms);
        let mean = latency.as_ref().map_or("-".to_owned(), |latency| {
            format!("{:.3} ms", latency.mean_ms)
        });
        let median = median.map_or("-".to_owned(), |value| format!("{value:.3} ms"));
        line!(
            page,
            "{url:width$}  {sent:>9} {ok:>9} {failed:>7} {unknown:>8} {mean:>10} {median:>10}"
        );
    }
    if figures.repeated > 0 {
        line!(page, "  {REPEATED}");
    }
    line!(page);
}

fn coverage(page: &mut String, coverage: &Coverage) {
    line!(
        page,
        "Judged    {} replies showing {} messages",
        coverage.replies,
        coverage.messages
    );
    line!(
        page,
        "  {} ordered pairs, {} of them across replicas",
        coverage.ordered_pairs,
        coverage.ordered_pairs_across_replicas
    );
    line!(
        page,
        "  each message shown by {:.1} replies on average; {} by its own reply only",
        coverage.shown_mean,
        coverage.shown_once
    );
    let unknown = coverage.unknown_stored + coverage.unknown_not_seen;
    if unknown > 0 {
        line!(
            page,
            "  {unknown} of unknown outcome: {} appeared, {} did not",
            coverage.unknown_stored,
            coverage.unknown_not_seen
        );
    }
    match coverage.pages {
        0 => line!(page, "  no page of messages was judged"),
        1 => line!(page, "  1 page of messages, asked for at the end"),
        pages => line!(page, "  {pages} pages of messages, asked for at the end"),
    }
    for (url, reason) in &coverage.pages_not_judged {
        line!(page, "  the page of {url} was not judged: {reason}");
    }
    line!(page);
}

/// The least share of coroutines with a request in flight that counts as busy. In an open loop, busy coroutines were the limit of
/// the run; in a closed loop, coroutines that were not busy show that the client was the limit.
const MIN_BUSY_SHARE: f64 = 0.9;

fn client(page: &mut String, settings: &Settings, figures: &Figures) {
    let under_way = figures.under_way;
    line!(
        page,
        "Client    {under_way:.1} of {} coroutines under way on average, {:.0} % of one core, seed {}",
        settings.concurrency,
        figures.client_cpu_ms / figures.total_time_ms.max(f64::EPSILON) * 100.0,
        settings.seed
    );
    if figures.total.sent == 0 {
        return;
    }
    let busy = under_way >= MIN_BUSY_SHARE * f64::from(settings.concurrency);
    match (settings.rate, busy) {
        (None, false) => line!(
            page,
            "  The client was the limit part of the time: the servers could have answered more."
        ),
        (Some(_), true) => line!(
            page,
            "  The coroutines were the limit: requests waited for a free one. More of them: -c"
        ),
        (None, true) | (Some(_), false) => {}
    }
}
