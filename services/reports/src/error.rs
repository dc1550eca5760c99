//! Why a command could not do its work, and the exit statuses.

use std::io;
use std::path::{Path, PathBuf};

use foundation::mysql::{NoPrimary, SetupError};

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
    Database(#[from] mysql::Error),
    /// A file cannot be opened.
    #[error("{}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A source cannot be read on. What was loaded stays, and the load can go on.
    #[error("the source: {0}")]
    Source(#[from] SourceError),
    /// A row is no call, and `--strict` takes none of these.
    #[error("the row at byte {at} is no call: {reason}")]
    Malformed {
        /// Where the row begins.
        at: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A load of this id was begun with another source.
    #[error(
        "load {id} was begun with another source, {known}; this is {given}. Another --id begins another load"
    )]
    OtherSource {
        /// The id of the load.
        id: String,
        /// The source it was begun with.
        known: String,
        /// The source that was given.
        given: String,
    },
    /// Another load has gone on with this one.
    #[error(
        "what load {id} had stored was {by}, which has come to what this does not begin with, so that nothing of it is \
         loaded. Another --id loads all of it"
    )]
    TakenOver {
        /// The id of the load.
        id: String,
        /// By which load it was taken over, in words.
        by: String,
    },
    /// A load of this id has stored calls of other bytes.
    #[error(
        "load {id} has stored {calls} calls, and this does not begin with the {position} bytes that they came from, so \
         that nothing of it is loaded. A source that begins with them is gone on with behind them; another --id loads all \
         of this beside them"
    )]
    OtherBeginning {
        /// The id of the load.
        id: String,
        /// How many calls it has stored.
        calls: u64,
        /// Of how many bytes.
        position: u64,
    },
    /// What is to be loaded may be that of which another load has stored a part.
    #[error(
        "load {id} has stored {calls} calls, and is not finished. This does not begin with the bytes that they came from; \
         if it is the same calls, corrected, they would be counted twice, so that nothing of it is loaded. Either finish \
         load {id} first, with a file that begins with these bytes; or load all of this beside what is stored, with \
         --id NAME, whatever name"
    )]
    Unfinished {
        /// The id of that load.
        id: String,
        /// How many calls it has stored.
        calls: u64,
    },
    /// Another process does the same load.
    #[error("another process goes on with load {0}, and so this one ends")]
    Overtaken(String),
    /// The service cannot be reached.
    #[error("no service can be reached at {url}: {reason}. Is it running?")]
    NobodyThere {
        /// Its URL.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// A fault of this program or of the system under it.
    #[error("{0}")]
    BrokeDown(#[from] io::Error),
}

impl Error {
    /// Makes one of a file that cannot be opened.
    #[must_use]
    pub fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// The exit status with which the program ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Malformed { .. } => INVALID,
            Self::Setup(SetupError::Url(_))
            | Self::OtherSource { .. }
            | Self::TakenOver { .. }
            | Self::OtherBeginning { .. }
            | Self::Unfinished { .. } => USAGE,
            Self::Setup(SetupError::Database(_))
            | Self::NoConnection(_)
            | Self::Database(_)
            | Self::File { .. }
            | Self::Source(_)
            | Self::Overtaken(_)
            | Self::NobodyThere { .. }
            | Self::BrokeDown(_) => NOT_DONE,
        }
    }
}

/// Why a source cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system does not give more of it.
    #[error("cannot read on: {0}")]
    Unreadable(io::Error),
    /// Within an array. The place is that of the row.
    #[error("the row at byte {at} cannot be read as JSON: {reason}")]
    NotJson {
        /// Where the row begins.
        at: u64,
        /// What is wrong with it, and where in it.
        reason: String,
    },
    /// A comma is missing in an array.
    #[error("no comma, and no end of the array, at byte {0}")]
    NoComma(u64),
    /// A comma of an array is followed by none.
    #[error("no row at byte {0}")]
    NoRow(u64),
    /// It ends within an array.
    #[error("it ends before its array does: is it complete?")]
    NotClosed,
    /// Something stands behind the array.
    #[error("there is more behind the array, at byte {0}")]
    BehindArray(u64),
}
