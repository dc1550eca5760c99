//! Medians, ratios, tables, JSON.

use std::fmt;
use std::fs;

use serde::Serialize;
use testbed::{Measurement, Spread};

/// All results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) database: String,
    pub(crate) tables: Vec<Table>,
    /// Remarks that a reader of the tables needs.
    pub(crate) notes: Vec<String>,
}

/// Targets that were measured in the same rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    median: Measurement,
    rounds: Vec<Measurement>,
}

/// The ratio of two figures of the same round.
#[derive(Debug, Serialize)]
struct Ratio {
    name: String,
    #[serde(flatten)]
    spread: Spread,
}

/// A figure of a measurement.
pub(crate) type Figure = fn(&Measurement) -> Option<f64>;

#[expect(
    clippy::unnecessary_wraps,
    reason = "has the type of the other figures"
)]
pub(crate) fn throughput(measurement: &Measurement) -> Option<f64> {
    Some(measurement.messages_per_second)
}

pub(crate) fn p50(measurement: &Measurement) -> Option<f64> {
    measurement.p50_ms
}

pub(crate) fn p99(measurement: &Measurement) -> Option<f64> {
    measurement.p99_ms
}

pub(crate) fn memory(measurement: &Measurement) -> Option<f64> {
    measurement.replica_memory_mb
}

impl Table {
    /// A table of targets with their measurements, one per round, in the same rounds for all.
    pub(crate) fn new(
        title: String,
        names: impl IntoIterator<Item = String>,
        series: Vec<Vec<Measurement>>,
    ) -> Self {
        let rows = names.into_iter().zip(series).map(|(name, rounds)| Row {
            name,
            median: median_of(&rounds),
            rounds,
        });
        Self {
            title,
            rows: rows.collect(),
            ratios: Vec::new(),
        }
    }

    /// Adds the ratio of a figure of one row to a figure of another, round by round.
    #[must_use]
    pub(crate) fn ratio(
        mut self,
        name: &str,
        (above, figure_above): (usize, Figure),
        (below, figure_below): (usize, Figure),
    ) -> Self {
        let rounds = self.rows[above].rounds.iter().zip(&self.rows[below].rounds);
        let ratios = rounds
            .filter_map(|(above, below)| Some(figure_above(above)? / figure_below(below)?))
            .filter(|ratio| ratio.is_finite());
        self.ratios.extend(Spread::of(ratios).map(|spread| Ratio {
            name: name.to_owned(),
            spread,
        }));
        self
    }
}

fn median_of(rounds: &[Measurement]) -> Measurement {
    let median = |figure: Figure| {
        let spread = Spread::of(rounds.iter().filter_map(figure));
        spread.map(|spread| spread.median)
    };
    Measurement {
        messages_per_second: median(throughput).unwrap_or_default(),
        p50_ms: median(p50),
        p99_ms: median(p99),
        // The sum, because a median would hide failures.
        failed: rounds.iter().map(|round| round.failed).sum(),
        client_cpu_us_per_request: median(|round| round.client_cpu_us_per_request),
        servers_cpu_us_per_request: median(|round| round.servers_cpu_us_per_request),
        database_cpu_us_per_request: median(|round| round.database_cpu_us_per_request),
        messages_per_batch: median(|round| round.messages_per_batch),
        replica_memory_mb: median(memory),
    }
}

/// The model of the processor, and the number of cores that this program may use.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{cores} cores, {model}")
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}; {}", self.database, self.machine)?;
        for table in &self.tables {
            write!(to, "\n{table}")?;
        }
        for note in &self.notes {
            write!(to, "\nNote: {note}")?;
        }
        Ok(())
    }
}

/// The width of a column of figures.
const WIDTH: usize = 10;

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|row| &row.name);
        let names = names.chain(self.ratios.iter().map(|ratio| &ratio.name));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0) + 1;

        writeln!(to, "{}", self.title)?;
        let headings = [
            ["", "messages/s"],
            ["p50", "ms"],
            ["p99", "ms"],
            ["not", "stored"],
            ["client", "CPU µs"],
            ["servers", "CPU µs"],
            ["database", "CPU µs"],
            ["messages", "a batch"],
            ["memory of", "replica MB"],
        ];
        for line in 0..2 {
            write!(to, "{:width$}", "")?;
            for heading in headings {
                write!(to, " {:>WIDTH$}", heading[line])?;
            }
            writeln!(to)?;
        }
        for Row { name, median, .. } in &self.rows {
            write!(to, "{name:width$}")?;
            write_cell(to, Some(median.messages_per_second), 0)?;
            write_cell(to, median.p50_ms, 2)?;
            write_cell(to, median.p99_ms, 2)?;
            write_cell(to, Some(median.failed), 0)?;
            write_cell(to, median.client_cpu_us_per_request, 1)?;
            write_cell(to, median.servers_cpu_us_per_request, 1)?;
            write_cell(to, median.database_cpu_us_per_request, 1)?;
            write_cell(to, median.messages_per_batch, 1)?;
            write_cell(to, median.replica_memory_mb, 1)?;
            writeln!(to)?;
        }
        if !self.ratios.is_empty() {
            writeln!(
                to,
                "{:width$} {:>WIDTH$} {:>WIDTH$} {:>WIDTH$}",
                "within a round", "median", "least", "most"
            )?;
        }
        for ratio in &self.ratios {
            write!(to, "{:width$}", ratio.name)?;
            let Spread { median, min, max } = ratio.spread;
            for value in [median, min, max] {
                write_cell(to, Some(value), 2)?;
            }
            writeln!(to)?;
        }
        Ok(())
    }
}

fn write_cell(to: &mut fmt::Formatter<'_>, value: Option<f64>, digits: usize) -> fmt::Result {
    match value {
        Some(value) => write!(to, " {value:>WIDTH$.digits$}"),
        None => write!(to, " {:>WIDTH$}", "-"),
    }
}
