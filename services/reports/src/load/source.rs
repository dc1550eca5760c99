//! Opens a source of calls, and tracks how far it is read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::store::{self, Load, LoadState};

use super::generator::{Amount, Generator};
use super::json::{Checkpoint, JsonCalls, Row};

/// Where calls come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    File(&'a Path),
    Stdin,
    Generator(Amount, u64),
}

impl Origin<'_> {
    /// The source in the state of a new load: the hash of no bytes, or a description of the generated calls.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Generator(amount, seed) => format!("{amount} generated calls of seed {seed}"),
            Self::File(_) | Self::Stdin => store::content_source(Xxh3::new().digest128()),
        }
    }

    /// Its length in bytes or, of generated calls, in calls; `None` if unknown.
    pub(super) fn length(self) -> Result<Option<u64>, Error> {
        match self {
            Self::File(path) => {
                let metadata =
                    std::fs::metadata(path).map_err(|error| Error::file(path, &error))?;
                Ok(metadata.is_file().then_some(metadata.len()))
            }
            Self::Stdin => Ok(None),
            Self::Generator(amount, _) => Ok(Some(amount.calls())),
        }
    }

    /// Opens it at the position where the load stopped. None if it does not begin with the bytes that were loaded.
    pub(super) fn open(self, state: &LoadState) -> Result<Option<Source>, Error> {
        let input: Box<dyn Read + Send> = match self {
            Self::Generator(amount, seed) => {
                let generator = Generator::new(amount, seed, state.position);
                return Ok(Some(Source::Generated(generator.into())));
            }
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => {
                Box::new(File::open(path).map_err(|error| Error::file(path, &error))?)
            }
        };
        let mut calls = JsonCalls::new(input)?;
        let is_same = state.position == 0
            || (calls.skip_to(state.position, state.finished)?
                && store::content_source(calls.checkpoint().hash) == state.source);
        Ok(is_same.then_some(Source::Json(calls.into())))
    }
}

/// The hash of a file, and the load that has loaded its longest prefix. `loads` are in ascending order of position. Content is
/// compared because two files with the same name and length may differ, such as those of two days.
pub(super) fn hash(path: &Path, loads: Vec<Load>) -> io::Result<(u128, Option<Load>)> {
    let mut file = BufReader::with_capacity(HASH_BUFFER_BYTES, File::open(path)?);
    let (mut hash, mut at) = (Xxh3::new(), 0);
    let mut prefix_load = None;
    for load in loads {
        let missing = load.state.position - at;
        at += io::copy(&mut file.by_ref().take(missing), &mut hash)?;
        let is_long_enough = load.state.position == at;
        if is_long_enough && load.state.source == store::content_source(hash.digest128()) {
            prefix_load = Some(load);
        }
    }
    io::copy(&mut file, &mut hash)?;
    Ok((hash.digest128(), prefix_load))
}

/// Bytes per read for the hash.
const HASH_BUFFER_BYTES: usize = 1 << 18;

/// An open source.
pub(super) enum Source {
    Json(Box<JsonCalls<Box<dyn Read + Send>>>),
    Generated(Box<Generator>),
}

impl Source {
    /// The next row; `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Error> {
        match self {
            Self::Json(calls) => calls.next_row(),
            Self::Generated(generator) => Ok(generator.next().map(Row::Call)),
        }
    }

    /// The position after the last row, in bytes and with their hash or, of generated calls, in calls.
    pub(super) fn checkpoint(&mut self) -> (u64, Option<u128>) {
        match self {
            Self::Json(calls) => {
                let Checkpoint { position, hash } = calls.checkpoint();
                (position, Some(hash))
            }
            Self::Generated(generator) => (generator.generated(), None),
        }
    }
}
