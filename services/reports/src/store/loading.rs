//! SQL for `reports load`.

use std::io::Write;
use std::sync::Arc;

use foundation::mysql::DatabaseError;
use mysql::prelude::Queryable;
use mysql::{Conn, LocalInfileHandler, Transaction, TxOpts};

use crate::call::{Call, Phone};
use crate::load::Chunk;

/// The progress of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadState {
    /// The source: the [`content_source`] of the bytes before `position`, or a description of the generated calls.
    pub source: String,
    /// The index of the first byte of the source or, of generated calls, of the first call that is not loaded yet.
    pub position: u64,
    /// How many calls are stored.
    pub calls: u64,
    /// How many malformed rows were left out.
    pub malformed: u64,
    /// Whether all of the source is loaded.
    pub finished: bool,
}

/// A load as it is stored.
#[derive(Debug)]
pub struct Load {
    /// Its id.
    pub id: String,
    /// Its progress.
    pub state: LoadState,
}

/// The source of a load from a file or stream: the hash of the bytes that it has loaded.
#[must_use]
pub fn content_source(hash: u128) -> String {
    format!("{HASH_PREFIX}{hash:032x}")
}

/// A readable form of a source: one text for all files and streams, or the description of the generated calls.
#[must_use]
pub fn source_kind(source: &str) -> &str {
    if source.starts_with(HASH_PREFIX) {
        "a file or a stream"
    } else {
        source
    }
}

const HASH_PREFIX: &str = "xxh3-";

impl Load {
    /// Whether another load has taken over the progress of this one.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.state.source.starts_with(TAKEN_OVER_PREFIX)
    }

    fn read(row: (String, String, u64, u64, u64, bool)) -> Self {
        let (id, source, position, calls, malformed, finished) = row;
        let state = LoadState {
            source,
            position,
            calls,
            malformed,
            finished,
        };
        Self { id, state }
    }
}

const COLUMNS: &str = "id, source, next_position, calls, malformed, finished_at IS NOT NULL";
/// The start of the source of a load that another load has taken over.
const TAKEN_OVER_PREFIX: &str = "taken over by load ";

/// The load with this id, if there is one.
///
/// # Errors
/// Those of the database.
pub fn find_load(connection: &mut Conn, id: &str) -> Result<Option<Load>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM loads WHERE id = ?");
    Ok(connection.exec_first(query, (id,))?.map(Load::read))
}

/// All loads that have loaded a part of a file or stream, in ascending order of position.
///
/// # Errors
/// Those of the database.
pub fn content_loads(connection: &mut Conn) -> Result<Vec<Load>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS}
         FROM loads
         WHERE source LIKE '{HASH_PREFIX}%' AND next_position > 0
         ORDER BY next_position"
    );
    Ok(connection.query_map(query, Load::read)?)
}

/// Moves the progress of `load` to the load `id`. False if `load` has changed since it was read.
///
/// # Errors
/// Those of the database.
pub fn take_over(connection: &mut Conn, load: &Load, id: &str) -> Result<bool, DatabaseError> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    let current: Option<(String, u64)> = transaction.exec_first(
        "SELECT source, next_position
         FROM loads
         WHERE id = ?
         FOR UPDATE",
        (&load.id,),
    )?;
    if current.as_ref() != Some(&(load.state.source.clone(), load.state.position)) {
        return Ok(false);
    }
    transaction.exec_drop(
        "INSERT INTO loads (id, source, next_position, calls, malformed, started_at, finished_at)
         VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6), IF(?, UTC_TIMESTAMP(6), NULL))
         ON DUPLICATE KEY UPDATE
           source = VALUES(source),
           next_position = VALUES(next_position),
           calls = VALUES(calls),
           malformed = VALUES(malformed),
           finished_at = VALUES(finished_at)",
        (
            id,
            &load.state.source,
            load.state.position,
            load.state.calls,
            load.state.malformed,
            load.state.finished,
        ),
    )?;
    // The row stays, so that its own source is not loaded from the start again.
    transaction.exec_drop(
        "UPDATE loads
         SET source = ?, finished_at = UTC_TIMESTAMP(6)
         WHERE id = ?",
        (format!("{TAKEN_OVER_PREFIX}{id}"), &load.id),
    )?;
    transaction.commit()?;
    Ok(true)
}

/// Returns the load `id` with its progress; creates it if there is none.
///
/// # Errors
/// Those of the database.
pub fn begin_load(connection: &mut Conn, id: &str, source: &str) -> Result<Load, DatabaseError> {
    connection.exec_drop(
        "INSERT IGNORE INTO loads (id, source, started_at)
         VALUES (?, ?, UTC_TIMESTAMP(6))",
        (id, source),
    )?;
    find_load(connection, id)?.ok_or_else(|| mysql::DriverError::UnexpectedPacket.into())
}

/// Stores a chunk, which takes the load from one state to another: calls, counts per duration and state, in one transaction.
/// False if the load is not in the state `before`: another process runs the same load, or an earlier attempt stored the chunk.
///
/// # Errors
/// Those of the database. If a COMMIT was not answered, its outcome is unknown; [`find_load`] resolves it.
pub fn store_chunk(
    connection: &mut Conn,
    id: &str,
    [before, after]: [&LoadState; 2],
    chunk: &Arc<Chunk>,
) -> Result<bool, DatabaseError> {
    let local_infile: Option<bool> = connection.query_first("SELECT @@GLOBAL.local_infile")?;
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    // First, so that a second process with this load waits here for the row lock, and then finds another state.
    if !advance(&mut transaction, id, before, after)? {
        return Ok(false);
    }
    if local_infile == Some(true) {
        stream_calls(&mut transaction, Arc::clone(chunk))?;
    } else {
        insert_calls(&mut transaction, &chunk.calls)?;
    }
    add_durations(&mut transaction, &chunk.durations)?;
    transaction.commit()?;
    Ok(true)
}

/// Updates the state of the load from `before` to `after`. False if it was not in the state `before`.
fn advance(
    transaction: &mut Transaction<'_>,
    id: &str,
    before: &LoadState,
    after: &LoadState,
) -> Result<bool, DatabaseError> {
    transaction.exec_drop(
        "UPDATE loads
         SET
           source = ?,
           next_position = ?,
           calls = ?,
           malformed = ?,
           finished_at = IF(?, UTC_TIMESTAMP(6), NULL)
         WHERE id = ? AND source = ? AND next_position = ? AND (finished_at IS NOT NULL) = ?",
        (
            &after.source,
            after.position,
            after.calls,
            after.malformed,
            after.finished,
            id,
            &before.source,
            before.position,
            before.finished,
        ),
    )?;
    Ok(transaction.affected_rows() == 1)
}

/// Stores the calls with `LOAD DATA LOCAL INFILE`.
fn stream_calls(transaction: &mut Transaction<'_>, chunk: Arc<Chunk>) -> Result<(), DatabaseError> {
    let expected = chunk.calls.len() as u64;
    // The server receives these rows whatever file it names, and never a file of this machine.
    transaction.set_local_infile_handler(Some(LocalInfileHandler::new(move |_name, stream| {
        for call in &chunk.calls {
            let (phone, started_at) = (call.phone, call.started_at);
            writeln!(stream, "{phone}\t{started_at}\t{}", call.duration_ms)?;
        }
        Ok(())
    })));
    let result = transaction.query_drop(
        "LOAD DATA LOCAL INFILE 'calls'
         INTO TABLE calls
         CHARACTER SET ascii
         (phone, started_at, duration_ms)",
    );
    transaction.set_local_infile_handler(None);
    result?;
    // This statement reports a value that does not fit as a warning, not as an error.
    let (stored, warnings) = (transaction.affected_rows(), transaction.warnings());
    if (stored, warnings) == (expected, 0) {
        Ok(())
    } else {
        Err(DatabaseError::new(format!(
            "of {expected} calls it took {stored}, with {warnings} warnings"
        )))
    }
}

/// Inserts the calls, for servers that do not allow `local_infile`.
fn insert_calls(transaction: &mut Transaction<'_>, calls: &[Call]) -> Result<(), DatabaseError> {
    let row = |call: &Call| {
        let (phone, started_at) = (call.phone, call.started_at);
        format!("({phone}, {started_at}, {})", call.duration_ms)
    };
    let insert_into = "INSERT INTO calls (phone, started_at, duration_ms)";
    insert(transaction, insert_into, calls, row, "")
}

/// Adds to the stored counts of calls per duration.
fn add_durations(
    transaction: &mut Transaction<'_>,
    durations: &[(Phone, u32, u64)],
) -> Result<(), DatabaseError> {
    let row = |(phone, duration_ms, calls): &_| format!("({phone}, {duration_ms}, {calls})");
    let insert_into = "INSERT INTO call_durations (phone, duration_ms, calls)";
    let or_add = "ON DUPLICATE KEY UPDATE calls = calls + VALUES(calls)";
    insert(transaction, insert_into, durations, row, or_add)
}

/// Most rows of one INSERT: at most some 300 kB, which is within the packet limit of any server.
const MAX_INSERT_ROWS: usize = 5_000;

fn insert<T>(
    transaction: &mut Transaction<'_>,
    insert_into: &str,
    rows: &[T],
    row: impl Fn(&T) -> String,
    on_duplicate: &str,
) -> Result<(), DatabaseError> {
    for rows in rows.chunks(MAX_INSERT_ROWS) {
        let rows: Vec<String> = rows.iter().map(&row).collect();
        let rows = rows.join(", ");
        transaction.query_drop(format!("{insert_into} VALUES {rows} {on_duplicate}"))?;
    }
    Ok(())
}
