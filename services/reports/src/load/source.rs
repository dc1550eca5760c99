//! Where calls come from, and how far they are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::call::Call;
use crate::error::Error;

use super::generator::{Amount, Generator};
use super::json::JsonCalls;

/// A row of a source.
#[derive(Debug)]
pub(super) enum Row {
    Call(Call),
    /// No call; it begins at this byte.
    Malformed {
        at: u64,
        reason: String,
    },
}

/// What is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    File(&'a Path),
    Stdin,
    Generator(Amount, u64),
}

impl Origin<'_> {
    /// Says what it is, so that a load does not go on with another source than it began with.
    pub(super) fn describe(self) -> Result<String, Error> {
        Ok(match self {
            Self::File(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let bytes = self.length()?.unwrap_or(0);
                format!("{} of {bytes} bytes", name.display())
            }
            Self::Stdin => "standard input".to_owned(),
            Self::Generator(amount, seed) => format!("{amount} generated calls of seed {seed}"),
        })
    }

    /// How far it goes, in bytes or, of generated ones, in calls; `None` if nobody knows.
    pub(super) fn length(self) -> Result<Option<u64>, Error> {
        match self {
            Self::File(path) => {
                let about = std::fs::metadata(path).map_err(|error| Error::file(path, error))?;
                Ok(about.is_file().then_some(about.len()))
            }
            Self::Stdin => Ok(None),
            Self::Generator(amount, _) => Ok(Some(amount.calls())),
        }
    }

    /// Opens it, to go on at a position that [`Source::position`] gave behind a row; 0 is its start.
    pub(super) fn open(self, position: u64) -> Result<Source, Error> {
        let input: Box<dyn Read + Send> = match self {
            Self::Generator(amount, seed) => {
                let generator = Generator::new(amount, seed, position);
                return Ok(Source::Generated(generator.into()));
            }
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => {
                Box::new(File::open(path).map_err(|error| Error::file(path, error))?)
            }
        };
        let mut calls = JsonCalls::new(input)?;
        if position > 0 {
            calls.skip_to(position)?;
        }
        Ok(Source::Json(calls))
    }
}

/// An open source.
pub(super) enum Source {
    Json(JsonCalls<Box<dyn Read + Send>>),
    Generated(Box<Generator>),
}

impl Source {
    /// The next row; `None` behind the last one.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        match self {
            Self::Json(calls) => calls.next_row(),
            Self::Generated(generator) => Ok(generator.next().map(Row::Call)),
        }
    }

    /// Behind the last row, in bytes or, of generated ones, in calls.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Json(calls) => calls.position(),
            Self::Generated(generator) => generator.made(),
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
    #[error("the row at byte {at} is no JSON: {reason}")]
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
    /// A row of an array takes more than so many bytes.
    #[error("the row at byte {0} takes more than {1} bytes")]
    RowTooLong(u64, usize),
    /// A load is to go on behind its end.
    #[error("it ends before byte {0}, where the load stopped: it is not what was loaded")]
    Shorter(u64),
}
