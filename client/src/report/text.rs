//! Reports the results as text: the verdict, three numbers, then tables.

use std::fmt::Write;

use super::{INTERRUPTED, REPEATED, Results, Run};
use crate::history::JudgeSettings;
use crate::output::Style;
use crate::stats::{Group, Latency, Stats, to_float};
use crate::verify::{Check, Judgement, Verdict};

macro_rules! line {
    ($page:expr) => { $page.push('\n') };
    ($page:expr, $($rest:tt)*) => {{
        // Writing to a String cannot fail.
        let _ = writeln!($page, $($rest)*);
    }};
}

/// Renders everything that is printed after a run.
pub(super) fn render(results: &Results<'_>, style: Style) -> String {
    let mut page = String::new();
    let paint = Paint(style);
    verdict(&mut page, results, paint);
    if results.is_interrupted() {
        line!(page, "{INTERRUPTED}\n");
    }
    if let Some(Run { stats, .. }) = &results.run {
        headline(&mut page, stats);
        requests(&mut page, stats);
        latencies(&mut page, stats);
        replicas(&mut page, &results.history.settings, stats);
    }
    if let Some(judgement) = results.judgement {
        coverage(&mut page, &results.history.settings, judgement);
    }
    if let Some(run) = &results.run {
        client(&mut page, run);
    }
    for met in &results.thresholds {
        line!(
            page,
            "Threshold {}",
            if met.is_met {
                paint.green(met)
            } else {
                paint.red(met)
            }
        );
    }
    page
}

/// Colors text, where that is wanted.
#[derive(Clone, Copy)]
struct Paint(Style);

impl Paint {
    fn green(self, text: impl std::fmt::Display) -> String {
        self.wrap("1;32", text)
    }

    fn red(self, text: impl std::fmt::Display) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(self, code: &str, text: impl std::fmt::Display) -> String {
        match self.0 {
            Style::Plain => text.to_string(),
            Style::Colored => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

fn verdict(page: &mut String, results: &Results<'_>, paint: Paint) {
    let Some(judgement) = results.judgement else {
        line!(page, "not judged (--no-check)\n");
        return;
    };
    match judgement.verdict {
        Verdict::Valid => {
            line!(
                page,
                "{}: no promise is broken ({} checks)\n",
                paint.green(results.valid()),
                Check::all().len()
            );
        }
        Verdict::Unknown => line!(
            page,
            "unknown: no request was answered, so nothing could be judged\n"
        ),
        Verdict::Invalid => {
            for (check, violations) in &judgement.violations {
                let count = violations.count;
                let plural = if count == 1 { "" } else { "s" };
                let invalid = paint.red("INVALID");
                line!(
                    page,
                    "{invalid}  {} ({}): {count} violation{plural}",
                    check.name(),
                    check.code()
                );
                line!(page, "  The promise: {}.", check.meaning());
                for contradiction in &violations.worst {
                    for explanation in contradiction.explanation.lines() {
                        line!(page, "  {explanation}");
                    }
                    line!(page);
                }
            }
        }
    }
}

fn headline(page: &mut String, stats: &Stats) {
    line!(
        page,
        "Total time         {:>10.3} s",
        stats.wall.as_secs_f64()
    );
    match &stats.total.latency {
        Some(latency) => line!(page, "Mean latency       {:>10.3} ms", latency.mean_ms),
        None => line!(
            page,
            "Mean latency                - (no request was answered)"
        ),
    }
    line!(
        page,
        "Throughput         {:>10.1} messages/s",
        stats.throughput()
    );
    line!(page);
}

fn requests(page: &mut String, stats: &Stats) {
    let total = &stats.total;
    line!(
        page,
        "Requests  {} sent = {} ok + {} failed + {} of unknown outcome",
        total.sent,
        total.ok,
        total.failed,
        total.unknown
    );
    for (reason, count) in &stats.kinds {
        line!(page, "  {count:>8}  {reason}");
    }
    if stats.repeated > 0 {
        line!(page, "  {:>8}  sent more than once", stats.repeated);
    }
    if total.sent > 0 {
        let each = stats.wall.as_secs_f64() * 1000.0 / to_float(total.sent);
        line!(
            page,
            "  Wall time / requests {each:.3} ms: one request after the other would have had that long"
        );
    }
    line!(page);
}

fn latencies(page: &mut String, stats: &Stats) {
    let all = [
        ("Latency", &stats.total.latency),
        (
            "Latency of those that failed or are unknown",
            &stats.failed_latency,
        ),
    ];
    for (title, latency) in all {
        let Some(latency) = latency else { continue };
        line!(page, "{title}");
        line!(page, "  {}", spread(latency));
        let percentiles: Vec<String> = latency
            .percentiles
            .iter()
            .map(|figure| format!("p{} {:.3} ms", figure.percent, figure.value_ms))
            .collect();
        line!(page, "  {}\n", percentiles.join("   "));
    }
}

fn spread(latency: &Latency) -> String {
    format!(
        "min {:.3} ms   mean {:.3} ms   standard deviation {:.3} ms   max {:.3} ms",
        latency.min_ms, latency.mean_ms, latency.standard_deviation_ms, latency.max_ms
    )
}

fn replicas(page: &mut String, settings: &JudgeSettings, stats: &Stats) {
    let width = settings
        .replicas
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
    for (url, group) in settings.replicas.iter().zip(&stats.replicas) {
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
    if stats.repeated > 0 {
        line!(page, "  {REPEATED}");
    }
    line!(page);
}

fn coverage(page: &mut String, settings: &JudgeSettings, judgement: &Judgement) {
    let coverage = &judgement.coverage;
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
    for (replica, reason) in &coverage.pages_not_judged {
        let url = settings.replicas.get(usize::from(*replica));
        let url = url.map_or("?", String::as_str);
        line!(page, "  the page of {url} was not judged: {reason}");
    }
    line!(page);
}

/// The share of the coroutines under way that counts as busy: from it on, they held the run up in an open loop; below
/// it, the client itself did in a closed one.
const BUSY_ENOUGH: f64 = 0.9;

fn client(page: &mut String, run: &Run<'_>) {
    let (stats, concurrency, seed) = (run.stats, run.settings.concurrency, run.settings.seed);
    let (under_way, share) = (stats.under_way(), stats.cpu_share() * 100.0);
    line!(
        page,
        "Client    {under_way:.1} of {concurrency} coroutines under way on average, {share:.0} % of one core, seed {seed}"
    );
    if stats.total.sent == 0 {
        return;
    }
    let busy = under_way >= BUSY_ENOUGH * f64::from(concurrency);
    match (run.settings.rate, busy) {
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
