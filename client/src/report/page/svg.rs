//! Draws charts with axes in SVG.

use std::fmt::Write;

pub(super) const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// The approximate number of labels on an axis.
const TICKS: f64 = 5.0;

/// A chart under construction.
#[derive(Debug)]
pub(super) struct Chart {
    x: (f64, f64),
    y: (f64, f64),
    content: String,
}

impl Chart {
    /// Creates a chart with these ranges of values on the axes.
    pub(super) fn new(x: (f64, f64), y: (f64, f64), x_name: &str, y_name: &str) -> Self {
        let mut chart = Self {
            x: non_empty(x),
            y: non_empty(y),
            content: String::new(),
        };
        chart.axes(x_name, y_name);
        chart
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&mut self, x_name: &str, y_name: &str) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        self.add(&format!(
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>"
        ));
        for value in ticks(self.x) {
            let x = self.x(value);
            self.add(&format!("<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/>"));
            self.text(x, bottom + 16.0, "middle", &label(value));
        }
        for value in ticks(self.y) {
            let y = self.y(value);
            self.add(&format!("<path class=\"axis\" d=\"M{LEFT} {y:.1}h-4\"/>"));
            self.text(LEFT - 8.0, y + 4.0, "end", &label(value));
        }
        self.text(right, HEIGHT - 8.0, "end", x_name);
        self.text(LEFT + 8.0, TOP + 8.0, "start", y_name);
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.add(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    /// Draws a bar with a tooltip.
    pub(super) fn bar(&mut self, from: f64, to: f64, value: f64, tooltip: &str) {
        let (x, right, y) = (self.x(from), self.x(to), self.y(value));
        let (width, height) = ((right - x - 1.0).max(0.5), (self.y(self.y.0) - y).max(0.0));
        let title = escape(tooltip);
        self.add(&format!(
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>"
        ));
    }

    /// Draws a line through points, with its name as a tooltip. There are six colors, which repeat.
    pub(super) fn series(&mut self, number: usize, name: &str, points: &[(f64, f64)]) {
        let path: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let (color, name) = (number % 6, escape(name));
        self.add(&format!(
            "<polyline class=\"series\" style=\"stroke:var(--s{color})\" points=\"{}\"><title>{name}</title></polyline>",
            path.join(" ")
        ));
    }

    /// Draws a vertical line with a label.
    pub(super) fn mark(&mut self, at: f64, name: &str, row: f64) {
        let x = self.x(at);
        self.add(&format!(
            "<path class=\"mark\" d=\"M{x:.1} {TOP}V{}\"/>",
            HEIGHT - BOTTOM
        ));
        let (anchor, x) = if x > WIDTH * 0.8 {
            ("end", x - 4.0)
        } else {
            ("start", x + 4.0)
        };
        self.text(x, TOP + 24.0 + row * 14.0, anchor, name);
    }

    fn add(&mut self, element: &str) {
        self.content.push_str(element);
        self.content.push('\n');
    }

    /// Returns the finished chart. The description is for screen readers.
    pub(super) fn finish(self, description: &str, caption: &str) -> String {
        figure(HEIGHT, &self.content, description, caption)
    }
}

/// Returns a figure with this content, of the standard width.
pub(super) fn figure(height: f64, content: &str, description: &str, caption: &str) -> String {
    let description = escape(description);
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{description}\">\n{content}</svg>\n\
         <figcaption>{caption}</figcaption></figure>\n"
    )
}

/// Returns a legend: the name of each series with its color.
pub(super) fn legend(names: &[String]) -> String {
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "<span style=\"color:var(--s{})\">■</span> {} ",
            number % 6,
            escape(name)
        );
    }
    text
}

/// Escapes text for any place in HTML: content or attribute.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Widens an empty range, to avoid a division by zero.
fn non_empty((from, to): (f64, f64)) -> (f64, f64) {
    if to > from {
        (from, to)
    } else {
        (from, from + 1.0)
    }
}

/// Returns round values between two bounds, whose distance is 1, 2 or 5 times a power of ten.
fn ticks((from, to): (f64, f64)) -> Vec<f64> {
    let rough = (to - from) / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let mut value = (from / step).ceil() * step;
    let mut values = Vec::new();
    while value <= to + step * 1e-6 {
        values.push(value);
        value += step;
    }
    values
}

fn label(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 10.0)), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks((3.0, 4.9)), [3.0, 3.5, 4.0, 4.5]);
        assert_eq!(label(0.25), "0.25");
        assert_eq!(label(2000.0), "2000");
    }

    #[test]
    fn nothing_escapes() {
        assert_eq!(escape("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
    }
}
