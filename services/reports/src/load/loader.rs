//! Stores the chunks of a load, and goes on when the database fails for a while.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::mysql::{Database, ErrorClass, PoolMetrics, Recovery, Session};

use crate::error::Error;
use crate::store::{self, LoadState, Stored};

use super::Chunk;

/// How long a chunk is tried again: a database that is started after a crash may need a minute.
const RETRY_FOR: Duration = Duration::from_secs(120);
/// Between two tries.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
};

/// A load under way.
pub(super) struct Loader {
    database: Database,
    metrics: PoolMetrics,
    session: Option<Session>,
    id: String,
    source: String,
    state: LoadState,
}

impl Loader {
    /// Begins a load, or takes it up where it stopped.
    pub(super) fn begin(database: Database, id: String, source: String) -> Result<Self, Error> {
        let metrics = database.metrics("load");
        let mut session = database.connect(&metrics)?;
        let load = store::begin_load(&mut session, &id, &source)?;
        if load.source != source {
            return Err(Error::OtherSource {
                id,
                known: load.source,
                given: source,
            });
        }
        Ok(Self {
            database,
            metrics,
            session: Some(session),
            id,
            source,
            state: load.state,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn state(&self) -> LoadState {
        self.state
    }

    /// Stores the next chunk, which takes the load to the state `after`.
    pub(super) fn store(&mut self, chunk: Chunk, after: LoadState) -> Result<(), Error> {
        let chunk = Arc::new(chunk);
        let start = Instant::now();
        let mut failures = 0;
        loop {
            let error = match self.try_to_store(&chunk, after) {
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

    fn try_to_store(&mut self, chunk: &Arc<Chunk>, after: LoadState) -> Result<(), Error> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(self.database.connect(&self.metrics)?),
        };
        match store::store_chunk(session, &self.id, [self.state, after], chunk)? {
            Stored::Done => return Ok(()),
            Stored::Elsewhere => {}
        }
        // A try before may have stored it, without an answer to its COMMIT.
        let there = store::begin_load(session, &self.id, &self.source)?.state;
        if there == after {
            Ok(())
        } else {
            Err(Error::Overtaken(self.id.clone()))
        }
    }
}

/// Whether the same may succeed a little later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::NoConnection(_) => true,
        Error::Database(error) => matches!(
            ErrorClass::of(error).recovery(),
            Recovery::TryAgain | Recovery::Reconnect
        ),
        _ => false,
    }
}
