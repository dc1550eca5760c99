//! Why a command could not do its work.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit;

/// An error that ends the program before it has a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No replica answered before the run.
    #[error("no replica can be reached: {0}. Is the server running?")]
    NobodyThere(String),
    /// A replica's name could not be looked up before the run.
    #[error("{url}: {reason}")]
    Replica { url: String, reason: String },
    /// The run ended by a fault of this program or of the system under it.
    #[error("the run broke down: {0}")]
    BrokeDown(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    /// Two kinds of results were to go to one file, or one to the file that is judged.
    #[error("{}: another result goes there already, or it is what is judged; name a file of its own for each", .0.display())]
    FileTaken(PathBuf),
    /// Stdout did not take the results.
    #[error("cannot write the results: {0}")]
    Output(io::Error),
    /// The texts would be too short to differ from each other.
    #[error(
        "--text-length {given} is too short: to be unique, the texts of this run need {least} characters"
    )]
    TextTooShort { given: usize, least: usize },
    /// Two runs have too little in common to be compared.
    #[error("these runs cannot be compared: {0}")]
    Incomparable(String),
}

impl Error {
    /// Returns what an error with this file becomes.
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the exit status with which the program ends.
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
