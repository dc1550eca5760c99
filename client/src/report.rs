//! Reports the results of a run to persons and programs.

mod compare;
mod csv;
mod document;
mod page;
mod text;
mod threshold;

use clap::ValueEnum;

pub(crate) use self::compare::compare;
pub(crate) use self::document::{Settings, schema};
pub(crate) use self::page::render as page;
pub(crate) use self::threshold::{Threshold, ThresholdOutcome};
use crate::history::History;
use crate::output::Style;
use crate::stats::Stats;
use crate::verify::Judgement;

/// The results of a command.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) history: &'a History,
    /// The run; absent where only a history was judged.
    pub(crate) run: Option<Run<'a>>,
    /// The judgement; absent with `--no-check`.
    pub(crate) judgement: Option<&'a Judgement>,
    pub(crate) thresholds: Vec<ThresholdOutcome>,
}

/// The note on a run that was interrupted, after its verdict.
const INTERRUPTED: &str =
    "interrupted: not all was sent, and the last messages were not all looked for in later replies";

/// The note on the figures of each replica, if requests were repeated.
const REPEATED: &str = "what was sent more than once counts for the replica asked last, with the time of all its attempts";

impl Results<'_> {
    /// Returns whether a signal ended the run early.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.interrupted)
    }

    /// Returns the word for a run without a broken promise.
    fn valid(&self) -> &'static str {
        if self.is_interrupted() {
            "valid so far"
        } else {
            "valid"
        }
    }
}

/// The settings and the figures of a run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) settings: Settings,
    pub(crate) stats: &'a Stats,
    pub(crate) interrupted: bool,
}

/// The form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
    Csv,
}

/// Renders the results in the form that was asked for.
pub(crate) fn render(results: &Results<'_>, format: OutputFormat, style: Style) -> String {
    match format {
        OutputFormat::Text => text::render(results, style),
        OutputFormat::Json => document::render(results),
        OutputFormat::Csv => csv::render(results.history),
    }
}
