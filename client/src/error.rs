//! Why a command could not do its work.

use std::io;
use std::path::PathBuf;

use crate::exit;

/// What ends the program before it has a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Before the run: nobody answers at any URL.
    #[error("no replica can be reached: {0}. Is the server running?")]
    NobodyThere(String),
    /// Before the run: a URL cannot be used at all.
    #[error("{url}: {reason}")]
    Replica { url: String, reason: String },
    /// The program itself is at fault.
    #[error("the run broke down: {0}")]
    BrokeDown(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    /// Two results for one file.
    #[error("{}: another result goes there already; name a file of its own for each", .0.display())]
    FileTaken(PathBuf),
    /// Stdout is there and does not take the results.
    #[error("cannot write the results: {0}")]
    Output(io::Error),
    /// Before the run: shorter texts would not all differ.
    #[error(
        "--text-length {given} is too short: to be unique, the texts of this run need {least} characters"
    )]
    TextTooShort { given: usize, least: usize },
    /// Two runs that say nothing about each other.
    #[error("these runs cannot be compared: {0}")]
    Incomparable(String),
}

impl Error {
    /// The exit status with which the program ends.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::TextTooShort { .. } | Self::FileTaken(_) | Self::Incomparable(_) => exit::USAGE,
            Self::NobodyThere(_)
            | Self::Replica { .. }
            | Self::BrokeDown(_)
            | Self::File { .. }
            | Self::Content { .. }
            | Self::Output(_) => exit::NOT_DONE,
        }
    }
}
