//! Where calls come from, and how far they are read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::store::{self, Load, LoadState};

use super::generator::{Amount, Generator};
use super::json::{JsonCalls, Place, Row};

/// What is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    File(&'a Path),
    Stdin,
    Generator(Amount, u64),
}

impl Origin<'_> {
    /// What a load of it that has loaded nothing is called a load of.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Generator(amount, seed) => format!("{amount} generated calls of seed {seed}"),
            Self::File(_) | Self::Stdin => store::bytes(Xxh3::new().digest128()),
        }
    }

    /// How far it goes, in bytes or, of generated ones, in calls; `None` if nobody knows.
    pub(super) fn length(self) -> Result<Option<u64>, Error> {
        match self {
            Self::File(path) => {
                let about = std::fs::metadata(path).map_err(|error| Error::file(path, &error))?;
                Ok(about.is_file().then_some(about.len()))
            }
            Self::Stdin => Ok(None),
            Self::Generator(amount, _) => Ok(Some(amount.calls())),
        }
    }

    /// Opens it, to go on where a load of it stopped. None if it does not begin with what was loaded.
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
        let begins_so = state.position == 0
            || (calls.skip_to(state.position, state.finished)?
                && store::bytes(calls.place().hash) == state.source);
        Ok(begins_so.then_some(Source::Json(calls.into())))
    }
}

/// The hash of a file, and which of the loads, in the order of how far they have come, has loaded the most of what it begins
/// with. Two files of one name and length need not hold the same, say those of two days.
pub(super) fn hash(path: &Path, loads: Vec<Load>) -> io::Result<(u128, Option<Load>)> {
    let mut file = BufReader::with_capacity(HASHED_BYTES, File::open(path)?);
    let (mut hash, mut at) = (Xxh3::new(), 0);
    let mut alike = None;
    for load in loads {
        let to_load = load.state.position - at;
        at += io::copy(&mut file.by_ref().take(to_load), &mut hash)?;
        let is_there = load.state.position == at;
        if is_there && load.state.source == store::bytes(hash.digest128()) {
            alike = Some(load);
        }
    }
    io::copy(&mut file, &mut hash)?;
    Ok((hash.digest128(), alike))
}

/// Bytes that are read at once for the hash.
const HASHED_BYTES: usize = 1 << 18;

/// An open source.
pub(super) enum Source {
    Json(Box<JsonCalls<Box<dyn Read + Send>>>),
    Generated(Box<Generator>),
}

impl Source {
    /// The next row; `None` behind the last one.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Error> {
        match self {
            Self::Json(calls) => calls.next_row(),
            Self::Generated(generator) => Ok(generator.next().map(Row::Call)),
        }
    }

    /// Behind the last row, in bytes and with their hash or, of generated ones, in calls.
    pub(super) fn place(&mut self) -> (u64, Option<u128>) {
        match self {
            Self::Json(calls) => {
                let Place { position, hash } = calls.place();
                (position, Some(hash))
            }
            Self::Generated(generator) => (generator.made(), None),
        }
    }
}
