//! Why a command failed, and the exit statuses.

use std::io;
use std::path::Path;

use foundation::mysql::{DatabaseError, SetupError};

/// The work is done, and everything is correct.
pub const VALID: u8 = 0;
/// The checked data is wrong; this status takes precedence over all others.
pub const INVALID: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The work could not be done.
pub const FAILED: u8 = 3;
/// There is no report at all, so nothing could be checked.
pub const NO_REPORTS: u8 = 5;
/// Interrupted by Ctrl-C; what was checked before is valid.
pub const INTERRUPTED: u8 = 130;

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The database returned an error, or the connection to it was lost, or never made.
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    /// The source cannot be read any further. What was loaded stays, and the load can be resumed.
    #[error("the source: {0}")]
    Source(String),
    /// A row is not a call, which `--strict` does not allow: its first byte, and the reason.
    #[error("the row at byte {0} is no call: {1}")]
    Malformed(u64, String),
    /// The source is not that of the load, or another load may have stored a part of it. Nothing of it is loaded.
    #[error("{0}")]
    SourceMismatch(String),
    /// Another process runs the load with this id.
    #[error("another process goes on with load {0}, and so this one ends")]
    ConcurrentLoad(String),
    /// The service cannot be reached: its URL, and the cause.
    #[error("no service can be reached at {0}: {1}. Is it running?")]
    Unreachable(String, String),
    /// An I/O error, or a fault of this program.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Wraps an I/O error of a file, and adds its path.
    #[must_use]
    pub fn file(path: &Path, error: &io::Error) -> Self {
        Self::Io(io::Error::other(format!("{}: {error}", path.display())))
    }

    /// The exit status with which the program ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Malformed(..) => INVALID,
            Self::Setup(SetupError::Url(_)) | Self::SourceMismatch(_) => USAGE,
            _ => FAILED,
        }
    }
}
