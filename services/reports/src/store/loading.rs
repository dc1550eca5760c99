//! What `reports load` writes.

use std::io::Write;
use std::sync::Arc;

use foundation::mysql::DatabaseError;
use mysql::prelude::Queryable;
use mysql::{Conn, LocalInfileHandler, Transaction, TxOpts};

use crate::call::{Call, Phone};
use crate::load::Chunk;

/// How far a load has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadState {
    /// What is loaded: the [`bytes`] before `position`, or which calls are generated.
    pub source: String,
    /// The first byte of the source that is not loaded yet, or the first call of one that is generated.
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
    /// Its name.
    pub id: String,
    /// How far it has come.
    pub state: LoadState,
}

/// What a load's source is called: the bytes that were loaded of it.
#[must_use]
pub fn bytes(hash: u128) -> String {
    format!("{BYTES}{hash:032x}")
}

/// A source for people, the same for all of which bytes are loaded.
#[must_use]
pub fn kind(source: &str) -> &str {
    if source.starts_with(BYTES) {
        "a file or a stream"
    } else {
        source
    }
}

const BYTES: &str = "xxh3-";

impl Load {
    /// Whether another load has taken over what this one had stored.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.state.source.starts_with(TAKEN_OVER)
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
/// What the source of a load is called when another has taken it over.
const TAKEN_OVER: &str = "taken over by load ";

/// The load of this name, if there is one.
///
/// # Errors
/// As the database says.
pub fn find_load(connection: &mut Conn, id: &str) -> Result<Option<Load>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM loads WHERE id = ?");
    Ok(connection.exec_first(query, (id,))?.map(Load::read))
}

/// All loads that have come anywhere in bytes, those that have come farthest last.
///
/// # Errors
/// As the database says.
pub fn loads_of_bytes(connection: &mut Conn) -> Result<Vec<Load>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS}
         FROM loads
         WHERE source LIKE '{BYTES}%' AND next_position > 0
         ORDER BY next_position"
    );
    Ok(connection.query_map(query, Load::read)?)
}

/// Goes on with a load under another name. False if it is not as it was any more.
///
/// # Errors
/// As the database says.
pub fn take_over(connection: &mut Conn, load: &Load, id: &str) -> Result<bool, DatabaseError> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    let there: Option<(String, u64)> = transaction.exec_first(
        "SELECT source, next_position
         FROM loads
         WHERE id = ?
         FOR UPDATE",
        (&load.id,),
    )?;
    if there.as_ref() != Some(&(load.state.source.clone(), load.state.position)) {
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
    // It stays, so that its own source is not loaded from the start again.
    transaction.exec_drop(
        "UPDATE loads
         SET source = ?, finished_at = UTC_TIMESTAMP(6)
         WHERE id = ?",
        (format!("{TAKEN_OVER}{id}"), &load.id),
    )?;
    transaction.commit()?;
    Ok(true)
}

/// Begins a load, or finds it, with its source and how far it has come.
///
/// # Errors
/// As the database says.
pub fn begin_load(connection: &mut Conn, id: &str, source: &str) -> Result<Load, DatabaseError> {
    connection.exec_drop(
        "INSERT IGNORE INTO loads (id, source, started_at)
         VALUES (?, ?, UTC_TIMESTAMP(6))",
        (id, source),
    )?;
    find_load(connection, id)?.ok_or_else(|| mysql::DriverError::UnexpectedPacket.into())
}

/// Stores a chunk of a load that takes it from one state to another: calls, durations and state, in one transaction.
/// False if the load is not where the chunk begins: another process does the same load, or this one has stored it before.
///
/// # Errors
/// As the database says. Of a COMMIT without an answer it is not known whether it was done; see [`find_load`].
pub fn store_chunk(
    connection: &mut Conn,
    id: &str,
    [before, after]: [&LoadState; 2],
    chunk: &Arc<Chunk>,
) -> Result<bool, DatabaseError> {
    let local_infile: Option<bool> = connection.query_first("SELECT @@GLOBAL.local_infile")?;
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    // First, so that a second process with this load waits here, and then finds it elsewhere.
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

/// Whether the load was in this state, and now is in the other one.
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

/// Sends the calls as a file.
fn stream_calls(transaction: &mut Transaction<'_>, chunk: Arc<Chunk>) -> Result<(), DatabaseError> {
    let expected = chunk.calls.len() as u64;
    // Whatever file the server names: it gets these rows, and never a file of this machine.
    transaction.set_local_infile_handler(Some(LocalInfileHandler::new(move |_name, to_server| {
        for call in &chunk.calls {
            let (phone, started_at) = (call.phone, call.started_at);
            writeln!(to_server, "{phone}\t{started_at}\t{}", call.duration_ms)?;
        }
        Ok(())
    })));
    let sent = transaction.query_drop(
        "LOAD DATA LOCAL INFILE 'calls'
         INTO TABLE calls
         CHARACTER SET ascii
         (phone, started_at, duration_ms)",
    );
    transaction.set_local_infile_handler(None);
    sent?;
    // What does not fit is a warning to this statement, and not an error.
    let (stored, warnings) = (transaction.affected_rows(), transaction.warnings());
    if (stored, warnings) == (expected, 0) {
        Ok(())
    } else {
        Err(DatabaseError::new(format!(
            "of {expected} calls it took {stored}, with {warnings} warnings"
        )))
    }
}

/// Inserts the calls, where the server takes no files.
fn insert_calls(transaction: &mut Transaction<'_>, calls: &[Call]) -> Result<(), DatabaseError> {
    let row = |call: &Call| {
        let (phone, started_at) = (call.phone, call.started_at);
        format!("({phone}, {started_at}, {})", call.duration_ms)
    };
    let insert_into = "INSERT INTO calls (phone, started_at, duration_ms)";
    insert(transaction, insert_into, calls, row, "")
}

/// Adds to how many calls of which duration there are.
fn add_durations(
    transaction: &mut Transaction<'_>,
    durations: &[(Phone, u32, u64)],
) -> Result<(), DatabaseError> {
    let row = |(phone, duration_ms, calls): &_| format!("({phone}, {duration_ms}, {calls})");
    let insert_into = "INSERT INTO call_durations (phone, duration_ms, calls)";
    let or_add = "ON DUPLICATE KEY UPDATE calls = calls + VALUES(calls)";
    insert(transaction, insert_into, durations, row, or_add)
}

/// Rows of one INSERT: some 300 kB at most, which any server takes at once.
const INSERTED_ROWS: usize = 5_000;

fn insert<T>(
    transaction: &mut Transaction<'_>,
    insert_into: &str,
    rows: &[T],
    row: impl Fn(&T) -> String,
    on_duplicate: &str,
) -> Result<(), DatabaseError> {
    for rows in rows.chunks(INSERTED_ROWS) {
        let rows: Vec<String> = rows.iter().map(&row).collect();
        let rows = rows.join(", ");
        transaction.query_drop(format!("{insert_into} VALUES {rows} {on_duplicate}"))?;
    }
    Ok(())
}
