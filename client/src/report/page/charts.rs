//! Draws the charts of a run: the distribution of latencies, and throughput and latency over time.

use super::svg::{Chart, legend};
use crate::history::{History, Op, Phase};
use crate::stats::{Figures, Latency, Percentile, milliseconds, nearest_rank, to_float};

const BARS: u32 = 60;
/// The number of points along the time axis.
const SLICES: u32 = 60;
/// The percentile up to which the distribution is drawn: with the outliers beyond, the bars would be too narrow.
const SHOWN_PERCENT: f64 = 99.5;

pub(super) fn all(history: &History, figures: &Figures) -> String {
    let Some(latency) = &figures.total.latency else {
        return String::new();
    };
    let slices = slices(history);
    let names = &history.settings.replicas;
    let mut text = "<h2>Latency distribution</h2>\n".to_owned();
    text.push_str(&distribution(&figures.latencies, latency));
    text.push_str("<h2>Throughput over time</h2>\n");
    text.push_str(&over_time(
        &slices,
        names,
        "messages/s",
        "Answers a second, by replica",
        |slice, seconds| Some(count(slice.len()) / seconds),
    ));
    text.push_str("<h2>Latency over time</h2>\n");
    text.push_str(&over_time(
        &slices,
        names,
        "ms, median",
        "Median latency, by replica",
        |slice, _| {
            let mut sorted: Vec<u64> = slice.iter().map(|op| op.latency_ns()).collect();
            sorted.sort_unstable();
            (!sorted.is_empty()).then(|| milliseconds(nearest_rank(&sorted, 50.0)))
        },
    ));
    text
}

fn distribution(sorted: &[u64], latency: &Latency) -> String {
    let top = milliseconds(nearest_rank(sorted, SHOWN_PERCENT)).max(1e-6);
    let width = top / f64::from(BARS);
    let mut counts = vec![0_usize; BARS as usize];
    let mut from = 0;
    for (bar, counted) in (1..=BARS).zip(&mut counts) {
        let end = sorted.partition_point(|sample| milliseconds(*sample) <= f64::from(bar) * width);
        *counted = end - from;
        from = end;
    }
    let highest = counts.iter().copied().max().unwrap_or(0);
    let mut chart = Chart::new(
        (0.0, top),
        (0.0, count(highest) * 1.3),
        "latency, ms",
        "requests",
    );
    for (bar, counted) in (0..BARS).zip(&counts) {
        let (from, to) = (f64::from(bar) * width, f64::from(bar + 1) * width);
        chart.bar(
            from,
            to,
            count(*counted),
            &format!("{from:.3} to {to:.3} ms: {counted} requests"),
        );
    }
    let marks = latency
        .percentiles
        .iter()
        .filter(|figure| [50.0, 90.0, 99.0].contains(&figure.percent) && figure.value_ms <= top);
    for (row, Percentile { percent, value_ms }) in marks.enumerate() {
        let name = format!("p{percent} {value_ms:.3} ms");
        chart.mark(*value_ms, &name, count(row));
    }
    let beyond = sorted.len() - from;
    let caption = format!(
        "{beyond} requests took longer than shown, {:.3} ms at most.",
        latency.max_ms
    );
    chart.finish("Histogram of the latencies of answered requests", &caption)
}

/// The answered requests in slices of time.
struct Slices<'a> {
    /// By replica, and then by the slice of the answer.
    by_replica: Vec<Vec<Vec<&'a Op>>>,
    /// The length of a slice in seconds.
    seconds: f64,
}

fn slices(history: &History) -> Slices<'_> {
    let answered = || {
        history
            .ops
            .iter()
            .filter(|op| op.phase == Phase::Measured && op.is_ok())
    };
    let start = answered().map(|op| op.start_ns).min().unwrap_or(0);
    let end = answered()
        .map(|op| op.end_ns)
        .max()
        .unwrap_or(0)
        .max(start + 1);
    let length = (end - start).div_ceil(u64::from(SLICES));
    let mut by_replica = vec![vec![Vec::new(); SLICES as usize]; history.settings.replicas.len()];
    for op in answered() {
        let slice = usize::try_from((op.end_ns - start) / length)
            .unwrap_or(usize::MAX)
            .min(SLICES as usize - 1);
        if let Some(slices) = by_replica.get_mut(usize::from(op.replica)) {
            slices[slice].push(op);
        }
    }
    Slices {
        by_replica,
        seconds: milliseconds(length) / 1000.0,
    }
}

fn over_time(
    slices: &Slices<'_>,
    names: &[String],
    unit: &str,
    description: &str,
    value: impl Fn(&[&Op], f64) -> Option<f64>,
) -> String {
    let series: Vec<Vec<(f64, f64)>> = slices
        .by_replica
        .iter()
        .map(|replica| {
            let points = (0..SLICES).zip(replica);
            points
                .filter_map(|(number, slice)| {
                    Some((
                        (f64::from(number) + 0.5) * slices.seconds,
                        value(slice, slices.seconds)?,
                    ))
                })
                .collect()
        })
        .collect();
    let highest = series.iter().flatten().map(|(_, y)| *y).fold(0.0, f64::max);
    let end = f64::from(SLICES) * slices.seconds;
    let mut chart = Chart::new((0.0, end), (0.0, highest * 1.05), "seconds", unit);
    for (number, (points, name)) in series.iter().zip(names).enumerate() {
        chart.series(number, name, points);
    }
    chart.finish(description, &legend(names))
}

fn count(number: usize) -> f64 {
    to_float(number as u64)
}
