//! Stores the chunks of a load, and retries while the database fails.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::mysql::{Database, PoolMetrics, Recovery, Session};
use uuid::Uuid;

use crate::error::Error;
use crate::store::{self, Load, LoadState};

use super::Chunk;
use super::source::{self, Origin};

/// How long a chunk is retried, because a database may take a minute to start after a crash.
const RETRY_FOR: Duration = Duration::from_secs(120);
/// The pauses between attempts.
const RETRY_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};

/// How long a source may take for a chunk before the server closes the idle connection, in seconds.
const WAIT_TIMEOUT_S: Option<u64> = Some(900);

/// A running load.
pub(super) struct Loader {
    database: Database,
    metrics: PoolMetrics,
    session: Option<Session>,
    id: String,
    state: LoadState,
    /// Whether the source may have grown since a load with this id finished.
    may_have_grown: bool,
}

impl Loader {
    /// Begins a load, or resumes it where it stopped.
    pub(super) fn begin(
        database: Database,
        id: Option<&String>,
        origin: Origin<'_>,
    ) -> Result<Self, Error> {
        let metrics = database.metrics("load");
        let mut session = database.connect(&metrics, WAIT_TIMEOUT_S)?;
        let (id, covers_source) = match id {
            Some(id) => (id.clone(), false),
            None => choose_load(&mut session, origin)?,
        };
        let is_file = matches!(origin, Origin::File(_)) && origin.length()?.is_some();
        let source = origin.describe();
        let load = store::begin_load(&mut session, &id, &source)?;
        if load.is_taken_over() {
            return Err(Error::SourceMismatch(format!(
                "what load {id} had stored was {}, which has come to what this does not begin with, so that nothing of it \
                 is loaded. Another --id loads all of it",
                load.state.source
            )));
        }
        // Of files and streams, the content is compared later, when the source is opened.
        let known = store::source_kind(&load.state.source);
        let given = store::source_kind(&source);
        if known != given {
            return Err(Error::SourceMismatch(format!(
                "load {id} was begun with another source, {known}; this is {given}. Another --id begins another load"
            )));
        }
        Ok(Self {
            database,
            metrics,
            session: Some(session),
            id,
            may_have_grown: is_file && !covers_source,
            state: load.state,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn state(&self) -> &LoadState {
        &self.state
    }

    /// Whether there is nothing left to load.
    pub(super) fn is_complete(&self) -> bool {
        self.state.finished && !self.may_have_grown
    }

    /// Stores the next chunk, which takes the load to the state `after`. Retries while the database fails, up to `RETRY_FOR`.
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
            if !is_transient(&error) || start.elapsed() > RETRY_FOR {
                return Err(error);
            }
            tracing::warn!(%error, "a chunk was not stored, and is tried again");
            self.session = None;
            thread::sleep(RETRY_BACKOFF.pause(failures));
            failures += 1;
        }
    }

    fn try_to_store(&mut self, chunk: &Arc<Chunk>, after: &LoadState) -> Result<(), Error> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(self.database.connect(&self.metrics, WAIT_TIMEOUT_S)?),
        };
        if store::store_chunk(session, &self.id, [&self.state, after], chunk)? {
            return Ok(());
        }
        // An earlier attempt may have stored the chunk without receiving the response to its COMMIT.
        match store::find_load(session, &self.id)? {
            Some(load) if load.state == *after => Ok(()),
            _ => Err(Error::ConcurrentLoad(self.id.clone())),
        }
    }
}

/// Chooses the id of a load without `--id`. Returns whether a finished load with this id has loaded all of the source.
///
/// If another load has stored a prefix of a file, this one takes it over. While any load is unfinished, files and streams that
/// begin with other bytes are refused, because they may be the same calls, corrected.
fn choose_load(session: &mut Session, origin: Origin<'_>) -> Result<(String, bool), Error> {
    let loads = store::content_loads(session)?;
    let is_unfinished = |load: &&Load| !load.state.finished && load.state.calls > 0;
    let unfinished = loads
        .iter()
        .find(is_unfinished)
        .map(|load| (load.id.clone(), load.state.calls));
    let (id, prefix_load) = match origin {
        Origin::Generator(..) => return Ok((origin.describe(), true)),
        Origin::File(path) if origin.length()?.is_some() => {
            let (hash, prefix_load) =
                source::hash(path, loads).map_err(|error| Error::file(path, &error))?;
            (store::content_source(hash), prefix_load)
        }
        // A stream cannot be read twice, so it is not hashed first.
        Origin::File(_) | Origin::Stdin => (Uuid::now_v7().to_string(), None),
    };
    let known = store::find_load(session, &id)?;
    if let Some(load) = known.as_ref().filter(|load| !load.is_taken_over()) {
        // What it has taken over may be finished without having stored the rest.
        let covers_source = origin.length()? == Some(load.state.position);
        return Ok((id, covers_source));
    }
    if let Some(load) = prefix_load {
        tracing::info!(
            load = load.id,
            calls = load.state.calls,
            "this begins with what another load has stored, and goes on with it"
        );
        return if store::take_over(session, &load, &id)? {
            Ok((id, false))
        } else {
            Err(Error::ConcurrentLoad(load.id))
        };
    }
    match unfinished {
        // A load that is known here was taken over, and `Loader::begin` refuses it.
        Some((id, calls)) if known.is_none() => Err(Error::SourceMismatch(format!(
            "load {id} has stored {calls} calls, and is not finished. This does not begin with the bytes that they came \
             from; if it is the same calls, corrected, they would be counted twice, so that nothing of it is loaded. Either \
             finish load {id} first, with a file that begins with these bytes; or load all of this beside what is stored, \
             with --id NAME, whatever name"
        ))),
        _ => Ok((id, true)),
    }
}

/// Whether a retry may succeed.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Database(error) => {
            matches!(error.recovery(), Recovery::TryAgain | Recovery::Reconnect)
        }
        _ => false,
    }
}
