//! Draws the requests in flight around a contradiction: a bar for each, from its sending to its answer.

use std::fmt::Write;

use super::svg::{WIDTH, escape, figure};
use crate::history::{History, Op, Phase};
use crate::stats::milliseconds;

/// The most bars in a drawing.
const MAX_BARS: usize = 24;
const ROW: f64 = 16.0;
const TOP: f64 = 24.0;
/// The space for the names of requests.
const LEFT: f64 = 200.0;
const RIGHT: f64 = 100.0;

/// Draws the requests of a contradiction, labelled A and B, and those that overlap with their time.
pub(super) fn render(history: &History, involved: &[u32]) -> String {
    let ops: Vec<&Op> = involved
        .iter()
        .filter_map(|op| history.ops.get(*op as usize))
        .collect();
    let (Some(start), Some(end)) = (
        ops.iter().map(|op| op.start_ns).min(),
        ops.iter().map(|op| op.end_ns).max(),
    ) else {
        return String::new();
    };
    let near = history
        .ops
        .iter()
        .filter(|op| op.end_ns >= start && op.start_ns <= end);
    let others = near.filter(|op| !ops.iter().any(|involved| std::ptr::eq(*involved, *op)));
    let mut rows: Vec<&Op> = others
        .take(MAX_BARS - ops.len().min(MAX_BARS))
        .chain(ops.iter().copied())
        .collect();
    rows.sort_by_key(|op| op.start_ns);
    let (from, to) = (start, end.max(start + 1));
    let mut content = String::new();
    for (row, op) in (0_u32..).zip(&rows) {
        let letter = ops
            .iter()
            .zip(["A", "B"])
            .find(|(involved, _)| std::ptr::eq(**involved, *op))
            .map(|(_, name)| name);
        bar(
            &mut content,
            op,
            letter,
            TOP + f64::from(row) * ROW,
            (from, to),
        );
    }
    let height = TOP + f64::from(u32::try_from(rows.len()).unwrap_or(0)) * ROW + 8.0;
    let caption = format!(
        "{:.3} ms, from the sending of the first to the answer of the last",
        milliseconds(to - from)
    );
    figure(
        height,
        &content,
        "Timeline of the requests around the contradiction",
        &caption,
    )
}

fn bar(content: &mut String, op: &Op, letter: Option<&str>, y: f64, (from, to): (u64, u64)) {
    let scale = |at: u64| {
        let at = at.clamp(from, to);
        LEFT + milliseconds(at - from) / milliseconds(to - from) * (WIDTH - LEFT - RIGHT)
    };
    let (x, width) = (
        scale(op.start_ns),
        (scale(op.end_ns) - scale(op.start_ns)).max(2.0),
    );
    let (class, text_class) = if letter.is_some() {
        ("accused", "strong")
    } else {
        ("other", "")
    };
    let name = match op.phase {
        Phase::Probe => format!("final probe {}", op.request),
        Phase::WarmUp | Phase::Measured => {
            format!("coroutine {} request {}", op.coroutine, op.request)
        }
    };
    let name = letter.map_or(name.clone(), |letter| format!("{letter} = {name}"));
    let seq = if op.seq == 0 {
        "–".to_owned()
    } else {
        format!("seq {}", op.seq)
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        content,
        "<text class=\"{text_class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"10\"/>\
         <text class=\"{text_class}\" x=\"{:.1}\" y=\"{:.1}\">{seq}</text>",
        LEFT - 8.0,
        y + 9.0,
        escape(&name),
        x + width + 6.0,
        y + 9.0
    );
}
