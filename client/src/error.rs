//! Why a command could not do its work.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit;

/// An error that ends the program before it has a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No replica answered before the run.
    #[error("no replica can be reached: {0}. Is the server running?")]
    NoneReachable(String),
    /// A replica's name could not be resolved before the run.
    #[error("{url}: {reason}")]
    Replica { url: String, reason: String },
    /// The run failed because of this program or the operating system.
    #[error("the run broke down: {0}")]
    RunFailed(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file has invalid content.
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    /// Two kinds of results are directed to one file, or one of them to the file that is judged.
    #[error("{}: another result goes there already, or it is what is judged; name a file of its own for each", .0.display())]
    FileTaken(PathBuf),
    /// The results could not be written to stdout.
    #[error("cannot write the results: {0}")]
    Output(io::Error),
    /// The texts would be too short to be unique.
    #[error(
        "--text-length {length} is too short: to be unique, the texts of this run need {min} characters"
    )]
    TextTooShort { length: usize, min: usize },
    /// Two runs cannot be compared: they differ in their load, or one of them has no figures or was interrupted.
    #[error("these runs cannot be compared: {0}")]
    Incomparable(String),
}

impl Error {
    /// Returns a function that turns an I/O error of this file into an [`Error::File`].
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
            Self::NoneReachable(_)
            | Self::Replica { .. }
            | Self::RunFailed(_)
            | Self::File { .. }
            | Self::Content { .. }
            | Self::Output(_) => exit::NOT_DONE,
        }
    }
}
