//! Where calls come from, and how far they are read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, SourceError};

use super::generator::{Amount, Generator};
use super::json::{JsonCalls, Row};

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
        Ok(match (self, self.length()?) {
            (Self::Generator(amount, seed), _) => {
                format!("{amount} generated calls of seed {seed}")
            }
            // Without its name, under which it need not stay.
            (_, Some(bytes)) => format!("a file of {bytes} bytes"),
            (_, None) => "a stream".to_owned(),
        })
    }

    /// A name for the load of it, the same for the same calls; drawn where they cannot be read twice.
    pub(super) fn load_id(self) -> Result<String, Error> {
        match self {
            Self::File(path) if self.length()?.is_some() => {
                let hash = hash(path).map_err(|error| Error::file(path, error))?;
                Ok(format!("xxh3-{hash:032x}"))
            }
            Self::File(_) | Self::Stdin => Ok(Uuid::now_v7().to_string()),
            Self::Generator(..) => self.describe(),
        }
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

/// Two files of one name and length need not hold the same, say those of two days.
fn hash(path: &Path) -> io::Result<u128> {
    let mut file = BufReader::with_capacity(HASHED_BYTES, File::open(path)?);
    let mut hash = Xxh3::new();
    loop {
        let read = file.fill_buf()?;
        let length = read.len();
        if length == 0 {
            return Ok(hash.digest128());
        }
        hash.update(read);
        file.consume(length);
    }
}

/// Bytes that are read at once for the hash.
const HASHED_BYTES: usize = 1 << 18;

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
