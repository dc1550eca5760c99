//! The store: all SQL, and the connections that it uses.
//!
//! Every statement is understood by MySQL and by MariaDB. What clients sent stands in it as hexadecimal literals only.

mod rehearsal;
mod sql;
mod tables;

use std::collections::HashMap;
use std::time::Instant;

use chrono::NaiveDateTime;
use foundation::mysql::{
    Database, DatabaseAway, DatabaseError, Pool, PoolMetrics, Schema, Session, Stopped,
    has_relations, next_set, run_all,
};
use mysql::prelude::Queryable;
use mysql::{Conn, QueryResult, Row, Text};
use uuid::Uuid;

use crate::message::{Message, PREDECESSORS};
use crate::numbering::{LockedState, Numbered};

pub use sql::{FRAME, MIN_PACKET, max_bytes, max_text_bytes, row_head};

/// Connections that pages and `/readyz` share. The writer has one of its own, so that no reader takes it away.
const READING_CONNECTIONS: u8 = 4;

/// The tables of the messenger.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../../schema.sql"),
    is_complete,
    fault,
    connections: READING_CONNECTIONS + 1,
    rights: "grant this user SELECT and INSERT on messages, SELECT, INSERT and UPDATE on counters, and SELECT on \
             ordering_violations; to create what is absent also CREATE, CREATE VIEW and DROP on the database, or create \
             it yourself from schema.sql",
};

/// Whether all of the schema is there. The lock row is the last that it creates.
fn is_complete(connection: &mut Conn) -> Result<bool, DatabaseError> {
    if !has_relations(connection, &["messages", "counters", "ordering_violations"])? {
        return Ok(false);
    }
    let lock: Option<u8> = connection.query_first("SELECT 1 FROM counters WHERE user = ''")?;
    Ok(lock.is_some())
}

/// Why the database cannot keep messages in order, if it cannot.
fn fault(connection: &mut Conn) -> Result<Option<String>, DatabaseError> {
    if let Some(fault) = tables::fault(connection)? {
        return Ok(Some(fault));
    }
    if let Some(fault) = rehearsal::rehearse(connection)? {
        return Ok(Some(fault.to_owned()));
    }
    let packet = max_packet(connection)?;
    Ok((packet < MIN_PACKET).then(|| {
        format!(
            "its max_allowed_packet is {packet}, which the largest messages do not fit into; set it to {MIN_PACKET} or \
             more"
        )
    }))
}

/// The largest statement that the server takes on this connection, in bytes. It is fixed when the connection is made.
fn max_packet(connection: &mut Conn) -> Result<usize, DatabaseError> {
    let bytes: Option<usize> = connection.query_first("SELECT @@max_allowed_packet")?;
    bytes.ok_or_else(|| mysql::DriverError::UnexpectedPacket.into())
}

/// The database of the messages.
#[derive(Clone)]
pub struct Store {
    /// The database itself.
    pub database: Database,
    /// Shows pages.
    pub reading: Pool,
    writing: PoolMetrics,
}

impl Store {
    /// A store that connects when it is first used.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            reading: database.pool("reading", READING_CONNECTIONS),
            writing: database.metrics("writing"),
            database,
        }
    }

    /// Checks that the database takes writes, and that the writer has a connection or can get one: readers and other replicas may
    /// have taken all that the account is allowed.
    pub fn ready(&self, deadline: Instant) -> Result<(), DatabaseAway> {
        if self.writing.open.get() == 0 {
            self.reading.check_connecting(deadline, &self.writing)?;
        }
        let update = "UPDATE counters SET repeats = repeats WHERE user = '' AND FALSE";
        self.reading.check_writable(deadline, update)
    }

    /// A connection for the writer, and the largest statement that it takes, in bytes.
    pub fn writing_connection(&self) -> Result<(Session, usize), DatabaseError> {
        // Other writers wait for one that holds the lock and is silent.
        let wait_timeout = self.database.timeouts().wait_timeout_seconds();
        let mut session = self.database.connect(&self.writing, Some(wait_timeout))?;
        let max_packet = max_packet(&mut session)?;
        Ok((session, max_packet))
    }

    /// Brings the gauges of the connections up to date.
    pub fn observe(&self) {
        self.writing.set_connections(1);
        self.reading.observe();
    }
}

/// Begins a transaction, waits for the lock, and reads what is needed to number messages. One round trip. The lock is the row
/// `counters['']`, which every writer locks first, and is held until the transaction ends; the rows of the batch's users are
/// locked next, in the order of their names.
///
/// `users` are those whose messages may be numbered, `look_up` the request ids that may be stored already.
///
/// # Errors
/// As the database says. The transaction may have begun: [`rollback`], or drop the connection.
pub fn lock<'a>(
    connection: &mut Conn,
    users: impl IntoIterator<Item = &'a str>,
    look_up: &[Uuid],
) -> Result<LockedState, DatabaseError> {
    let mut users: Vec<&str> = users.into_iter().collect();
    users.sort_unstable();
    users.dedup();
    let mut results = connection.query_iter(sql::lock_and_read(&users, look_up))?;
    next_set::<Row>(&mut results)?; // BEGIN
    let counters: Vec<Counter> = next_set(&mut results)?;
    let mut counters = counters.into_iter();
    // The row may have been deleted. Without it there is no lock.
    let Some((_, total, last_sent_at, now)) = counters.next().filter(|(user, ..)| user.is_empty())
    else {
        return Err(DatabaseError::new(
            "the table counters lacks the row of the empty name, which is the lock",
        ));
    };
    let counts = counters.map(|(user, messages, ..)| (user, messages));
    let mut of_user: HashMap<String, u64> = counts.collect();
    for user in users {
        // A user without a row has no messages.
        if !of_user.contains_key(user) {
            of_user.insert(user.to_owned(), 0);
        }
    }
    let tail = next_page(&mut results)?;
    let found = match look_up {
        [] => HashMap::new(),
        _ => next_set(&mut results)?.into_iter().map(found).collect(),
    };
    Ok(LockedState {
        total,
        of_user,
        last_sent_at: last_sent_at.and_utc(),
        tail,
        found,
        now: now.and_utc(),
    })
}

/// A row of `counters`: the user, the number of messages, the date of the last one, and the time at which the row was read.
type Counter = (String, u64, NaiveDateTime, NaiveDateTime);

/// Stores the new messages and the counters, and commits, all under the lock. One round trip. `heads` are the submissions'
/// [`row_head`]s.
///
/// # Errors
/// Where [`DatabaseError::recovery`] is not to reconnect, the transaction may still be open: [`rollback`].
pub fn insert_and_commit(
    connection: &mut Conn,
    heads: &[String],
    numbered: &Numbered<'_>,
    state: &LockedState,
) -> Result<(), NotCommitted> {
    let statements = sql::insert_and_commit(heads, numbered, state);
    run_all(connection, &statements).map_err(|Stopped { at, error }| {
        // COMMIT is the last statement, so its index is the number of semicolons: what clients sent is hexadecimal, and
        // contains none. If it fails there or later, the outcome is in doubt.
        let commit = statements.matches(';').count();
        let in_doubt = at >= commit || error.class().may_hide_a_loss();
        NotCommitted {
            in_doubt: in_doubt || !state.found.is_empty(),
            error,
        }
    })
}

/// A transaction that was not committed, as far as is known.
#[derive(Debug)]
pub struct NotCommitted {
    /// What went wrong.
    pub error: DatabaseError,
    /// Whether some of the batch is or may be stored, now or later. If not, nothing of it was found, a statement before `COMMIT`
    /// failed, and the database runs none of the statements after it.
    pub in_doubt: bool,
}

/// Ends a failed transaction. (Error 1205, lock wait timeout, undoes the statement only.)
///
/// # Errors
/// If it fails, drop the connection.
pub fn rollback(connection: &mut Conn) -> Result<(), DatabaseError> {
    Ok(connection.query_drop("ROLLBACK")?)
}

/// For each of these numbers, at least one, its message with up to nine before it, oldest first. One round trip.
pub fn windows(
    connection: &mut Conn,
    numbers: &[u64],
) -> Result<Vec<Vec<Message<'static>>>, DatabaseError> {
    let page = |seq: &u64| sql::page(Some(seq.saturating_add(1)), PREDECESSORS as u64 + 1);
    let statements: Vec<String> = numbers.iter().map(page).collect();
    let mut results = connection.query_iter(statements.join(";"))?;
    numbers.iter().map(|_| next_page(&mut results)).collect()
}

/// The last `limit` messages with a number below `before`, oldest first.
pub fn page(
    connection: &mut Conn,
    before: Option<u64>,
    limit: u64,
) -> Result<Vec<Message<'static>>, DatabaseError> {
    next_page(&mut connection.query_iter(sql::page(before, limit))?)
}

fn next_page(
    results: &mut QueryResult<'_, '_, '_, Text>,
) -> Result<Vec<Message<'static>>, DatabaseError> {
    let mut rows = next_set(results)?;
    rows.reverse();
    Ok(rows.into_iter().map(message).collect())
}

fn message(row: (u64, String, u64, String, NaiveDateTime)) -> Message<'static> {
    let (seq, user, user_seq, text, sent_at) = row;
    Message {
        seq,
        user: user.into(),
        user_seq,
        text: text.into(),
        sent_at: sent_at.and_utc(),
    }
}

fn found(row: (Uuid, u64, String, u64, String, NaiveDateTime)) -> (Uuid, Message<'static>) {
    let (request_id, seq, user, user_seq, text, sent_at) = row;
    (request_id, message((seq, user, user_seq, text, sent_at)))
}
