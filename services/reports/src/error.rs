//! Why a command could not do its work, and the exit statuses.

use std::io;
use std::path::Path;

use foundation::mysql::{DatabaseError, NoPrimary, SetupError};

/// Everything is as it should be.
pub const VALID: u8 = 0;
/// What was looked at is wrong, whatever else went wrong.
pub const INVALID: u8 = 1;
/// The command line asks for something that cannot be.
pub const USAGE: u8 = 2;
/// The work could not be done.
pub const NOT_DONE: u8 = 3;
/// Nothing was answered, so that nothing could be judged.
pub const NOTHING_JUDGED: u8 = 5;
/// Interrupted, and valid so far.
pub const INTERRUPTED: u8 = 130;

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No host of the database gives a connection.
    #[error("the database: {0}")]
    NoConnection(#[from] NoPrimary),
    /// The database refused, or the connection to it was lost.
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    /// A source cannot be read on. What was loaded stays, and the load can go on.
    #[error("the source: {0}")]
    Source(String),
    /// A row is no call, and `--strict` takes none of these.
    #[error("the row at byte {0} is no call: {1}")]
    Malformed(u64, String),
    /// The source is not that of the load, or may be one of which another load has stored a part: nothing of it is loaded.
    #[error("{0}")]
    OtherSource(String),
    /// Another process does the same load.
    #[error("another process goes on with load {0}, and so this one ends")]
    Overtaken(String),
    /// The service cannot be reached at this URL, and why.
    #[error("no service can be reached at {0}: {1}. Is it running?")]
    NobodyThere(String, String),
    /// A fault of this program or of the system under it.
    #[error("{0}")]
    BrokeDown(#[from] io::Error),
}

impl Error {
    /// Makes one of a file that cannot be opened.
    #[must_use]
    pub fn file(path: &Path, error: &io::Error) -> Self {
        Self::BrokeDown(io::Error::other(format!("{}: {error}", path.display())))
    }

    /// The exit status with which the program ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Malformed(..) => INVALID,
            Self::Setup(SetupError::Url(_)) | Self::OtherSource(_) => USAGE,
            _ => NOT_DONE,
        }
    }
}
