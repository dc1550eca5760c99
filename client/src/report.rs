//! Renders the results of a run for the user and for programs.

mod compare;
mod csv;
mod document;
mod page;
mod text;
mod threshold;

use clap::ValueEnum;

pub(crate) use self::compare::compare;
pub(crate) use self::document::{Document, Settings, schema};
pub(crate) use self::page::render as page;
pub(crate) use self::threshold::{Threshold, ThresholdOutcome};
use crate::history::History;
use crate::output::Style;

/// The note on a run that was interrupted, after its verdict.
const INTERRUPTED: &str =
    "interrupted: not all was sent, and the last messages were not all looked for in later replies";

/// The note on the figures of each replica, if requests were repeated.
const REPEATED: &str = "what was sent more than once counts for the replica asked last, with the time of all its attempts";

/// The format of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
    Csv,
}

/// Renders the results in this format.
pub(crate) fn render(
    document: &Document,
    history: &History,
    format: OutputFormat,
    style: Style,
) -> String {
    match format {
        OutputFormat::Text => text::render(document, style),
        OutputFormat::Json => document::render(document),
        OutputFormat::Csv => csv::render(history),
    }
}
