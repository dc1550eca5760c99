//! The store: all SQL, and what its errors mean.
//!
//! Every statement is understood by MySQL and by MariaDB. What callers sent stands in it as hexadecimal literals only.

mod hosts;
mod pool;
mod primary;
mod rights;
mod session;
mod setup;
mod sql;
mod tables;
mod tls;
mod url;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use mysql::prelude::{FromValue, Queryable};
use mysql::{Conn, Row};
use uuid::Uuid;

use crate::message::{Message, PREDECESSORS};
use crate::numbering::{Found, LockedState, Numbered};

pub use hosts::NoPrimary;
pub use pool::{NotRead, Session, Store, Timeouts, WritingConnection};
pub use primary::Unfit;
pub use setup::SetupError;
pub use sql::{FRAME, LEAST_PACKET, RowHeads, most_bytes, most_text_bytes};
pub use url::DatabaseUrls;

/// The writer's lock, held until the transaction ends.
///
/// `counters['']` is locked first, by whoever writes; the rows of the batch's users follow in the order of their names.
#[must_use = "the lock is held until the transaction ends"]
pub struct Locked<'c> {
    connection: &'c mut Conn,
    /// What stood in the tables when the lock was got.
    pub state: LockedState,
}

impl<'c> Locked<'c> {
    /// Begins a transaction, waits for the lock, and reads what numbering needs. One round trip.
    ///
    /// `users` are those whose messages may be numbered, `look_up` the request ids that may be stored already.
    ///
    /// # Errors
    /// If it fails the transaction may have begun: [`rollback`], or drop the connection.
    pub fn begin<'a>(
        connection: &'c mut Conn,
        users: impl IntoIterator<Item = &'a str>,
        look_up: &[Uuid],
    ) -> Result<Self, mysql::Error> {
        let mut users: Vec<&str> = users.into_iter().collect();
        users.sort_unstable();
        users.dedup();
        let statements = sql::lock_and_read(&users, look_up);
        let mut state = read_state(connection, &statements, !look_up.is_empty())?;
        for user in users {
            // Who has no row has no message.
            state.of_user.entry(user.to_owned()).or_default();
        }
        Ok(Self { connection, state })
    }

    /// Stores the new messages and the counters, and commits. One round trip. Gives back what was read under the lock.
    ///
    /// # Errors
    /// Where [`ErrorClass::recovery`] is not to reconnect, the transaction may still be open: [`rollback`].
    pub fn insert_and_commit(
        self,
        heads: &RowHeads,
        numbered: &Numbered<'_>,
    ) -> Result<LockedState, NotCommitted> {
        let statements = sql::insert_and_commit(heads, numbered, &self.state);
        match run_all(self.connection, &statements) {
            Ok(()) => Ok(self.state),
            Err(Stopped { at, error }) => {
                // It is the last statement, and no `;` stands in a literal.
                let commit = statements.matches(';').count();
                Err(NotCommitted {
                    in_doubt: at >= commit || ErrorClass::of(&error).may_hide_a_loss(),
                    error,
                })
            }
        }
    }
}

/// A transaction that was not committed, as far as is known.
#[derive(Debug)]
pub struct NotCommitted {
    /// What went wrong.
    pub error: mysql::Error,
    /// Whether it may be committed all the same. If not, a statement before `COMMIT` failed, and the database runs none
    /// of those behind it.
    pub in_doubt: bool,
}

/// Ends a transaction that failed. (1205, the end of waiting for a lock, undoes the statement only.)
///
/// # Errors
/// If it fails, drop the connection.
pub fn rollback(connection: &mut Conn) -> Result<(), mysql::Error> {
    connection.query_drop("ROLLBACK")
}

/// The messages with these numbers and up to nine before each, every one once, oldest first. One number at least.
///
/// # Errors
/// As the database says.
pub fn windows(
    connection: &mut Conn,
    numbers: &[u64],
) -> Result<Vec<Message<'static>>, mysql::Error> {
    let mut results = connection.query_iter(sql::windows(numbers, PREDECESSORS as u64))?;
    next_set(&mut results, message)
}

/// The last `limit` messages with a number below `before`, oldest first.
///
/// # Errors
/// As the database says.
pub fn page(
    connection: &mut Conn,
    before: Option<u64>,
    limit: u64,
) -> Result<Vec<Message<'static>>, mysql::Error> {
    let mut results = connection.query_iter(sql::page(before, limit))?;
    let mut messages = next_set(&mut results, message)?;
    messages.reverse();
    Ok(messages)
}

/// Whether the database takes writes: a statement that would write, but finds no row to write to. Takes no lock.
///
/// # Errors
/// As the database says, 1290 if it is read-only.
pub fn check_writable(connection: &mut Conn) -> Result<(), mysql::Error> {
    connection.query_drop("UPDATE counters SET repeats = repeats WHERE user = '' AND FALSE")
}

/// The unique key that fences messages against being stored twice. The others guard the numbers.
const REQUEST_ID: &str = "request_id";

/// Why the database did not do what was asked, as the operator counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The lock was not free in time.
    LockTimeout,
    /// Another transaction was in the way, and the database ended ours.
    Conflict,
    /// Lost, killed, timed out, or never made.
    Connection,
    /// Starting, stopping, with too many connections, or on its way out of its group.
    Unavailable,
    /// It takes no writes now.
    ReadOnly,
    /// It has no space, or cannot write.
    Storage,
    /// The request ids are there already: another replica took the batch for lost, and stored it.
    Duplicate,
    /// The statement is larger than what it takes at once.
    TooLarge,
    /// It will never take this message.
    Refused,
    /// It did not say whether that lies with the message.
    Unknown,
}

impl ErrorClass {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::LockTimeout,
        Self::Conflict,
        Self::Connection,
        Self::Unavailable,
        Self::ReadOnly,
        Self::Storage,
        Self::Duplicate,
        Self::TooLarge,
        Self::Refused,
        Self::Unknown,
    ];

    /// Numbers by the error references of MySQL and MariaDB, and where the number is not known the class of SQL states.
    #[must_use]
    pub fn of(error: &mysql::Error) -> Self {
        let mysql::Error::MySqlError(error) = error else {
            return Self::Connection;
        };
        match error.code {
            1062 if key(&error.message) == Some(REQUEST_ID) => Self::Duplicate,
            1205 => Self::LockTimeout,
            // Record changed; no room for more locks; deadlock.
            1020 | 1206 | 1213 => Self::Conflict,
            // Network trouble as the server sees it; connection aborted; statement or connection killed; a statement's
            // time is over, by an option of the server; session killed; idle for too long. The numbers of clients: from a
            // proxy that is one.
            1158..=1161 | 1184 | 1317 | 1927 | 1969 | 3024 | 3169 | 4031 | 2000..=2999 => {
                Self::Connection
            }
            // Too many connections; out of memory; shutdown; not yet a cluster member; host blocked after too many failed
            // connections; user has too many connections, or has used up a resource; too many transactions; offline mode;
            // not available.
            1040 | 1041 | 1053 | 1047 | 1129 | 1203 | 1226 | 1637 | 3032 | 3168
            // The replication group does not let a transaction begin, or wait for what came before.
            | 3796..=3799
            // No server's number: ProxySQL and others that stand between have no connection to the database.
            | 7000..
            // Error during COMMIT; rolled back by replication, which may have passed it on before: not known.
            | 1180 | 3101 => Self::Unavailable,
            // Read-only: by option, by transaction, by mode, by table; refused by a replication hook.
            1290 | 1792 | 1836 | 1036 | 3100 => Self::ReadOnly,
            // Error writing a temporary file; disk full, table full, error writing a file, error from the storage engine.
            3 | 1021 | 1114 | 1026 | 1030 => Self::Storage,
            1153 => Self::TooLarge,
            // A string that the column's character set does not have; a check constraint. Their state tells nothing.
            1366 | 3819 => Self::Refused,
            _ => Self::of_state(&error.state),
        }
    }

    fn of_state(state: &str) -> Self {
        match state.get(..2) {
            Some("08") => Self::Connection,
            Some("40") => Self::Conflict,
            // Data, integrity, a trigger's own.
            Some("22" | "23" | "45") => Self::Refused,
            // Not the message's fault as far as is known; that of the statement (42) never is: what callers sent stands in
            // it as literals only.
            _ => Self::Unknown,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn recovery(self) -> Recovery {
        match self {
            Self::LockTimeout | Self::Conflict | Self::Duplicate => Recovery::TryAgain,
            // After a time-out the driver would read the late answer as the next statement's.
            Self::Connection | Self::Unavailable | Self::ReadOnly | Self::Storage => {
                Recovery::Reconnect
            }
            Self::TooLarge => Recovery::Split,
            Self::Refused | Self::Unknown => Recovery::TrySingly,
        }
    }

    /// Whether the database may have run all that it was sent, as when the connection is lost.
    fn may_hide_a_loss(self) -> bool {
        // A proxy that has lost its own connection may say so: ProxySQL passes on 2013, MaxScale, with `error_on_write`,
        // says 1290.
        matches!(self, Self::Connection | Self::Unavailable | Self::ReadOnly)
    }

    /// In the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LockTimeout => "lock_timeout",
            Self::Conflict => "conflict",
            Self::Connection => "connection",
            Self::Unavailable => "unavailable",
            Self::ReadOnly => "read_only",
            Self::Storage => "storage",
            Self::Duplicate => "duplicate",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// The number of an error that the database gave.
#[must_use]
pub fn code(error: &mysql::Error) -> Option<u16> {
    match error {
        mysql::Error::MySqlError(error) => Some(error.code),
        _ => None,
    }
}

/// The key's name in the message of error 1062, which ends with it in quotes. `MySQL` puts the table's before it. What
/// stands earlier is the caller's: the name of a user may look like a key.
fn key(message: &str) -> Option<&str> {
    let (before, _end) = message.rsplit_once('\'')?;
    let (_before, key) = before.rsplit_once('\'')?;
    key.rsplit('.').next()
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The transaction failed, another may succeed: [`rollback`] and try again.
    TryAgain,
    /// The connection is of no use, or its server does not take writes now: drop it and connect again.
    Reconnect,
    /// The database takes less at once: [`rollback`] and try again with less.
    Split,
    /// The database refuses something in it: [`rollback`] and try each message by itself.
    TrySingly,
}

type Results<'c> = mysql::QueryResult<'c, 'c, 'c, mysql::Text>;

fn read_state(
    connection: &mut Conn,
    statements: &str,
    looks_up: bool,
) -> Result<LockedState, mysql::Error> {
    let mut results = connection.query_iter(statements)?;
    next_set(&mut results, Ok)?; // BEGIN
    let counter = |mut row: Row| {
        let last_and_now = (time(&mut row, 2)?, time(&mut row, 3)?);
        Ok((
            column::<String>(&mut row, 0)?,
            column(&mut row, 1)?,
            last_and_now,
        ))
    };
    let mut counters = next_set(&mut results, counter)?.into_iter();
    let Some((_, total, (last_sent_at, now))) =
        counters.next().filter(|(user, ..)| user.is_empty())
    else {
        return Err(no_lock());
    };
    let of_user = counters
        .map(|(user, messages, _)| (user, messages))
        .collect();
    let mut tail = next_set(&mut results, message)?;
    tail.reverse();
    let found = if looks_up {
        next_set(&mut results, found)?.into_iter().collect()
    } else {
        HashMap::new()
    };
    Ok(LockedState {
        total,
        of_user,
        last_sent_at,
        tail,
        found,
        now,
    })
}

/// Somebody has deleted the row. Without it there is no order.
fn no_lock() -> mysql::Error {
    mysql::Error::MySqlError(mysql::MySqlError {
        state: "HY000".to_owned(),
        message: "the table counters lacks the row of the empty name, which is the lock".to_owned(),
        code: 0,
    })
}

fn message(mut row: Row) -> Result<Message<'static>, mysql::Error> {
    Ok(Message {
        seq: column(&mut row, 0)?,
        user: column::<String>(&mut row, 1)?.into(),
        user_seq: column(&mut row, 2)?,
        text: column::<String>(&mut row, 3)?.into(),
        sent_at: time(&mut row, 4)?,
    })
}

fn found(mut row: Row) -> Result<(Uuid, Found), mysql::Error> {
    let id: Vec<u8> = column(&mut row, 0)?;
    let id = Uuid::from_slice(&id).map_err(|_length| mysql::Error::FromValueError(id.into()))?;
    let found = Found {
        seq: column(&mut row, 1)?,
        user: column(&mut row, 2)?,
        text: column(&mut row, 3)?,
    };
    Ok((id, found))
}

fn time(row: &mut Row, index: usize) -> Result<DateTime<Utc>, mysql::Error> {
    Ok(column::<NaiveDateTime>(row, index)?.and_utc())
}

fn column<T: FromValue>(row: &mut Row, index: usize) -> Result<T, mysql::Error> {
    match row.take_opt(index) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.into()),
        None => Err(mysql::Error::FromRowError(row.clone())),
    }
}

/// Reads one result set to its end.
fn next_set<T>(
    results: &mut Results<'_>,
    read: impl Fn(Row) -> Result<T, mysql::Error>,
) -> Result<Vec<T>, mysql::Error> {
    match results.iter() {
        Some(rows) => read_all(rows, read),
        None => Err(mysql::DriverError::UnexpectedPacket.into()),
    }
}

fn read_all<T>(
    rows: impl Iterator<Item = Result<Row, mysql::Error>>,
    read: impl Fn(Row) -> Result<T, mysql::Error>,
) -> Result<Vec<T>, mysql::Error> {
    rows.map(|row| row.and_then(&read)).collect()
}

/// The end of several statements at one of them.
struct Stopped {
    /// How many were run before it.
    at: usize,
    error: mysql::Error,
}

/// Runs all of several statements. `query_drop` would lose the error of any but the first.
fn run_all(connection: &mut Conn, statements: &str) -> Result<(), Stopped> {
    let mut at = 0;
    let mut results = connection
        .query_iter(statements)
        .map_err(|error| Stopped { at, error })?;
    while let Some(mut rows) = results.iter() {
        rows.try_for_each(|row| row.map(drop))
            .map_err(|error| Stopped { at, error })?;
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u16, state: &str, message: &str) -> ErrorClass {
        ErrorClass::of(&mysql::Error::MySqlError(mysql::MySqlError {
            state: state.to_owned(),
            message: message.to_owned(),
            code,
        }))
    }

    #[test]
    fn a_duplicate_is_told_by_the_key_and_not_by_what_callers_sent() {
        let id = ErrorClass::Duplicate;
        for (entry, key, expected) in [
            ("x", "request_id", id),
            ("x", "messages.request_id", id),
            ("it's 'quoted' for key 'user_seq'", "request_id", id),
            ("x", "messages.user_seq", ErrorClass::Refused),
            ("request_id", "user_seq", ErrorClass::Refused),
            ("x' for key 'request_id", "user_seq", ErrorClass::Refused),
            (
                "x' for key 'messages.request_id'",
                "messages.user_seq",
                ErrorClass::Refused,
            ),
            (
                "x' for key 'request_id'-",
                "messages.seq",
                ErrorClass::Refused,
            ),
        ] {
            let message = format!("Duplicate entry '{entry}' for key '{key}'");
            assert_eq!(class(1062, "23000", &message), expected, "{message}");
        }
        assert_eq!(class(1062, "23000", "without quotes"), ErrorClass::Refused);
        assert_eq!(class(1062, "23000", "request_id'"), ErrorClass::Refused);
    }

    #[test]
    fn what_lies_with_the_database_or_the_way_to_it_is_never_taken_for_a_fault_of_the_message() {
        // Of servers, of ProxySQL, and numbers of tomorrow.
        for (code, state) in [
            (1041, "HY000"),
            (1129, "HY000"),
            (1184, "08S01"),
            (1226, "42000"),
            (1637, "HY000"),
            (3168, "HY000"),
            (3169, "HY000"),
            (9001, "HY000"),
            (65_000, "42000"),
            (6999, "08S01"),
        ] {
            let recovery = class(code, state, "").recovery();
            assert_eq!(recovery, Recovery::Reconnect, "{code}");
        }
        assert_eq!(class(6999, "40001", "").recovery(), Recovery::TryAgain);
        assert_eq!(class(1153, "08S01", "").recovery(), Recovery::Split);
        for state in ["HY000", "42000", "42S02", "XA100", "", "é"] {
            assert_eq!(class(6999, state, ""), ErrorClass::Unknown, "{state}");
        }
        for state in ["22001", "23000", "45000"] {
            assert_eq!(class(6999, state, ""), ErrorClass::Refused, "{state}");
        }
    }
}
