//! What a person or a program reads of a run.

mod compare;
mod csv;
mod document;
mod page;
mod text;
mod threshold;

use clap::ValueEnum;

pub(crate) use self::compare::compare;
pub(crate) use self::document::{Settings, schema};
pub(crate) use self::threshold::{Met, Threshold};
use crate::history::History;
use crate::output::Style;
use crate::stats::Stats;
use crate::verify::Judgement;

/// All that there is to tell.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) history: &'a History,
    /// None where only a history was judged.
    pub(crate) run: Option<Run<'a>>,
    /// None with `--no-check`.
    pub(crate) judgement: Option<&'a Judgement>,
    pub(crate) thresholds: Vec<Met>,
}

/// Said of a run that was interrupted, after its verdict.
const INTERRUPTED: &str =
    "interrupted: not all was sent, and the last messages were not all looked for in later replies";

/// Said of the figures of each replica, if requests were repeated.
const REPEATED: &str = "what was sent more than once counts for the replica asked last, with the time of all its attempts";

impl Results<'_> {
    /// Whether a signal ended the run early.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.interrupted)
    }

    /// The word for a run without a broken promise.
    fn valid(&self) -> &'static str {
        if self.is_interrupted() {
            "valid so far"
        } else {
            "valid"
        }
    }
}

/// What was measured.
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

/// The results as a page.
pub(crate) fn page(results: &Results<'_>) -> String {
    page::render(results)
}

/// The results, as asked for.
pub(crate) fn render(results: &Results<'_>, format: OutputFormat, style: Style) -> String {
    match format {
        OutputFormat::Text => text::render(results, style),
        OutputFormat::Json => document::render(results),
        OutputFormat::Csv => csv::render(results.history),
    }
}
