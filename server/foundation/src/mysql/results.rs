//! Transactions, and reading results.

use chrono::{DateTime, NaiveDateTime, Utc};
use mysql::prelude::{FromRow, FromValue, Queryable};
use mysql::{Conn, QueryResult, Row, Text, from_row_opt};

use super::error::DatabaseError;

/// Reads a date and time of a row as UTC.
///
/// # Errors
/// If the column is none.
pub fn time(row: &mut Row, index: usize) -> Result<DateTime<Utc>, DatabaseError> {
    Ok(column::<NaiveDateTime>(row, index)?.and_utc())
}

/// Takes a column out of a row.
///
/// # Errors
/// If there is none, or it is of another type.
pub fn column<T: FromValue>(row: &mut Row, index: usize) -> Result<T, DatabaseError> {
    let value = row.take_opt(index);
    Ok(value.ok_or_else(|| mysql::FromRowError(row.clone()))??)
}

/// Reads one result set to its end.
///
/// # Errors
/// As the database says, if there is none, or if a row is not as it is to be read.
pub fn next_set<T: FromRow>(
    results: &mut QueryResult<'_, '_, '_, Text>,
) -> Result<Vec<T>, DatabaseError> {
    let rows = results.iter();
    let rows = rows.ok_or(mysql::DriverError::UnexpectedPacket)?;
    rows.map(|row| Ok(from_row_opt(row?)?)).collect()
}

/// Runs a transaction.
///
/// # Errors
/// Those of `run`. If COMMIT fails, it may have been done.
pub fn transaction<T>(
    connection: &mut Conn,
    run: impl FnOnce(&mut Conn) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    connection.query_drop("BEGIN")?;
    let done = run(connection).and_then(|done| {
        connection.query_drop("COMMIT")?;
        Ok(done)
    });
    if done.is_err() {
        // If the connection is lost, the database rolls back by itself.
        let _lost = connection.query_drop("ROLLBACK");
    }
    done
}

/// The failure of one of several statements.
#[derive(Debug)]
pub struct Stopped {
    /// How many statements ran before it.
    pub at: usize,
    /// What went wrong.
    pub error: DatabaseError,
}

impl From<Stopped> for DatabaseError {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

/// Runs several statements. `query_drop` would lose the errors of all but the first.
///
/// # Errors
/// [`Stopped`] at the first that fails; the database runs none of those after it.
pub fn run_all(connection: &mut Conn, statements: &str) -> Result<(), Stopped> {
    let stopped = |at| {
        move |error: mysql::Error| Stopped {
            at,
            error: error.into(),
        }
    };
    let mut results = connection.query_iter(statements).map_err(stopped(0))?;
    let mut at = 0;
    while let Some(mut rows) = results.iter() {
        rows.try_for_each(|row| row.map(drop))
            .map_err(stopped(at))?;
        at += 1;
    }
    Ok(())
}
