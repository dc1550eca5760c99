//! Stores the chunks of a load, and goes on when the database fails for a while.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::mysql::{Database, DatabaseError, PoolMetrics, Recovery, Session};
use mysql::prelude::Queryable;
use uuid::Uuid;

use crate::error::Error;
use crate::store::{self, Load, LoadState};

use super::Chunk;
use super::source::{self, Origin};

/// How long a chunk is tried again: a database that is started after a crash may need a minute.
const RETRY_FOR: Duration = Duration::from_secs(120);
/// Between two tries.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};

/// How long a source may take for a chunk, before the connection is made anew.
const MAX_SILENCE_S: u32 = 900;

/// A load under way.
pub(super) struct Loader {
    database: Database,
    metrics: PoolMetrics,
    session: Option<Session>,
    id: String,
    state: LoadState,
    /// Whether a source of this id may have more than a finished load of it has loaded.
    may_have_more: bool,
}

impl Loader {
    /// Begins a load, or takes it up where it stopped.
    pub(super) fn begin(
        database: Database,
        id: Option<&String>,
        origin: Origin<'_>,
    ) -> Result<Self, Error> {
        let metrics = database.metrics("load");
        let mut session = connect(&database, &metrics)?;
        let (id, is_whole) = match id {
            Some(id) => (id.clone(), false),
            None => choose(&mut session, origin)?,
        };
        let is_file = matches!(origin, Origin::File(_)) && origin.length()?.is_some();
        let source = origin.describe();
        let load = store::begin_load(&mut session, &id, &source)?;
        if load.is_taken_over() {
            return Err(Error::OtherSource(format!(
                "what load {id} had stored was {}, which has come to what this does not begin with, so that nothing of it \
                 is loaded. Another --id loads all of it",
                load.state.source
            )));
        }
        // What was loaded of bytes is compared when they are read.
        let (known, given) = (store::kind(&load.state.source), store::kind(&source));
        if known != given {
            return Err(Error::OtherSource(format!(
                "load {id} was begun with another source, {known}; this is {given}. Another --id begins another load"
            )));
        }
        Ok(Self {
            database,
            metrics,
            session: Some(session),
            id,
            may_have_more: is_file && !is_whole,
            state: load.state,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn state(&self) -> &LoadState {
        &self.state
    }

    /// Whether there is nothing that could be loaded.
    pub(super) fn is_over(&self) -> bool {
        self.state.finished && !self.may_have_more
    }

    /// Stores the next chunk, which takes the load to the state `after`.
    pub(super) fn store(&mut self, chunk: Chunk, after: LoadState) -> Result<(), Error> {
        let chunk = Arc::new(chunk);
        let start = Instant::now();
        let mut failures = 0;
        loop {
            let error = match self.try_to_store(&chunk, &after) {
                Ok(()) => {
                    self.state = after;
                    return Ok(());
                }
                Err(error) => error,
            };
            if !is_passing(&error) || start.elapsed() > RETRY_FOR {
                return Err(error);
            }
            tracing::warn!(%error, "a chunk was not stored, and is tried again");
            self.session = None;
            thread::sleep(PAUSES.pause(failures));
            failures += 1;
        }
    }

    fn try_to_store(&mut self, chunk: &Arc<Chunk>, after: &LoadState) -> Result<(), Error> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(connect(&self.database, &self.metrics)?),
        };
        if store::store_chunk(session, &self.id, [&self.state, after], chunk)? {
            return Ok(());
        }
        // A try before may have stored it, without an answer to its COMMIT.
        match store::find_load(session, &self.id)? {
            Some(load) if load.state == *after => Ok(()),
            _ => Err(Error::Overtaken(self.id.clone())),
        }
    }
}

/// A connection that may say nothing for as long as a source takes for a chunk.
fn connect(database: &Database, metrics: &PoolMetrics) -> Result<Session, Error> {
    let mut session = database.connect(metrics)?;
    let set = session.query_drop(format!("SET SESSION wait_timeout = {MAX_SILENCE_S}"));
    set.map_err(DatabaseError::from)?;
    Ok(session)
}

/// Names the load of a source that was given no name, and says whether the name is that of the whole content.
///
/// What another load has stored of what a file begins with is gone on with. While some load is not finished, nothing is loaded
/// that begins otherwise: it may be the same calls, corrected.
fn choose(session: &mut Session, origin: Origin<'_>) -> Result<(String, bool), Error> {
    let loads = store::loads_of_bytes(session)?;
    let is_open = |load: &&Load| !load.state.finished && load.state.calls > 0;
    let open = loads
        .iter()
        .find(is_open)
        .map(|load| (load.id.clone(), load.state.calls));
    let (id, alike) = match origin {
        Origin::Generator(..) => return Ok((origin.describe(), true)),
        Origin::File(path) if origin.length()?.is_some() => {
            let hashed = source::hash(path, loads).map_err(|error| Error::file(path, &error))?;
            (store::bytes(hashed.0), hashed.1)
        }
        // It cannot be read twice.
        Origin::File(_) | Origin::Stdin => (Uuid::now_v7().to_string(), None),
    };
    let known = store::find_load(session, &id)?;
    if known.as_ref().is_some_and(|load| !load.is_taken_over()) {
        return Ok((id, true));
    }
    if let Some(load) = alike {
        tracing::info!(
            load = load.id,
            calls = load.state.calls,
            "this begins with what another load has stored, and goes on with it"
        );
        return if store::take_over(session, &load, &id)? {
            Ok((id, false))
        } else {
            Err(Error::Overtaken(load.id))
        };
    }
    match open {
        // What took it over has come to bytes that this does not begin with.
        Some((id, calls)) if known.is_none() => Err(Error::OtherSource(format!(
            "load {id} has stored {calls} calls, and is not finished. This does not begin with the bytes that they came \
             from; if it is the same calls, corrected, they would be counted twice, so that nothing of it is loaded. Either \
             finish load {id} first, with a file that begins with these bytes; or load all of this beside what is stored, \
             with --id NAME, whatever name"
        ))),
        _ => Ok((id, true)),
    }
}

/// Whether the same may succeed a little later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::NoConnection(_) => true,
        Error::Database(error) => {
            matches!(error.recovery(), Recovery::TryAgain | Recovery::Reconnect)
        }
        _ => false,
    }
}
