//! All SQL of calls, their durations, and loads.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use foundation::mysql::{Schema, has_relations};
use mysql::prelude::Queryable;
use mysql::{Conn, LocalInfileHandler, Transaction, TxOpts};

use crate::call::{Call, Phone};
use crate::figures::{PhoneFigures, Tally};
use crate::load::Chunk;

/// The tables, and what they need.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../schema.sql"),
    is_complete: |connection| {
        has_relations(
            connection,
            &["calls", "call_durations", "loads", "tasks", "jobs"],
        )
    },
    fault: |_| Ok(None),
    connections: 8,
    rights: "grant this user SELECT, INSERT and UPDATE on its tables, DELETE on jobs, and CREATE on the database",
};

/// The calls that a report is about: those that begin in [from, to).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    from_ms: Option<u64>,
    to_ms: Option<u64>,
}

impl Period {
    /// The period between two points in time, either of which may be open. Without both it is all of time.
    #[must_use]
    pub fn new(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Self {
        Self {
            from_ms: from.map(first_millisecond),
            to_ms: to.map(first_millisecond),
        }
    }

    fn is_all(self) -> bool {
        self == Self::default()
    }

    /// The condition on calls, with `AND` before it.
    fn condition(self) -> String {
        let mut condition = String::new();
        if let Some(from) = self.from_ms {
            let _ = write!(condition, " AND started_at >= {from}");
        }
        if let Some(to) = self.to_ms {
            let _ = write!(condition, " AND started_at < {to}");
        }
        condition
    }
}

/// The first whole millisecond since 1970 that does not lie before a point in time.
fn first_millisecond(time: DateTime<Utc>) -> u64 {
    let is_whole = time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    u64::try_from(time.timestamp_millis() + i64::from(!is_whole)).unwrap_or(0)
}

/// What the figures of all calls are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// From how many calls of which duration there are.
    Durations,
    /// From the calls themselves, as those of a period always are.
    Calls,
}

/// The figures of phones, at least one and without duplicates, in their order. The calls are those of one moment; takes no lock.
///
/// # Errors
/// As the database says.
pub fn figures(
    connection: &mut impl Queryable,
    phones: &[Phone],
    period: Period,
    reading: Reading,
) -> Result<Vec<PhoneFigures>, mysql::Error> {
    let list = list(phones);
    let tallies = match reading {
        Reading::Durations if period.is_all() => tallies(
            connection,
            &format!(
                "SELECT phone, duration_ms, calls
                 FROM call_durations
                 WHERE phone IN ({list})"
            ),
        ),
        _ => tallies(
            connection,
            &format!(
                "SELECT phone, duration_ms, COUNT(*)
                 FROM calls FORCE INDEX (phone)
                 WHERE phone IN ({list}){}
                 GROUP BY phone, duration_ms",
                period.condition()
            ),
        ),
    }?;
    let known = if period.is_all() {
        HashSet::new()
    } else {
        known_phones(connection, &list)?
    };
    let figures = |&phone: &Phone| {
        let tally = tallies.get(&phone.number()).copied().unwrap_or_default();
        tally.figures(phone, known.contains(&phone.number()))
    };
    Ok(phones.iter().map(figures).collect())
}

/// Numbers alone, so that they may stand in a statement as they are.
fn list(phones: &[Phone]) -> String {
    let numbers: Vec<String> = phones.iter().map(Phone::to_string).collect();
    numbers.join(", ")
}

/// Reads rows of phone, duration and calls.
fn tallies(
    connection: &mut impl Queryable,
    query: &str,
) -> Result<HashMap<u64, Tally>, mysql::Error> {
    let add = |mut tallies: HashMap<u64, Tally>, (phone, duration_ms, calls): (u64, u32, u64)| {
        tallies.entry(phone).or_default().add(duration_ms, calls);
        tallies
    };
    connection.query_fold(query, HashMap::new(), add)
}

/// Those of the phones that have called at any time.
fn known_phones(connection: &mut impl Queryable, list: &str) -> Result<HashSet<u64>, mysql::Error> {
    let known: Vec<u64> = connection.query(format!(
        "SELECT DISTINCT phone
         FROM call_durations
         WHERE phone IN ({list})"
    ))?;
    Ok(known.into_iter().collect())
}

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadState {
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
    /// What is loaded.
    pub source: String,
    /// How far it has come.
    pub state: LoadState,
}

/// Begins a load, or finds it, with its source and how far it has come.
///
/// # Errors
/// As the database says.
pub fn begin_load(connection: &mut Conn, id: &str, source: &str) -> Result<Load, mysql::Error> {
    connection.exec_drop(
        "INSERT IGNORE INTO loads (id, source, started_at)
         VALUES (?, ?, UTC_TIMESTAMP(6))",
        (id, source),
    )?;
    let found = connection.exec_first(
        "SELECT source, next_position, calls, malformed, finished_at IS NOT NULL
         FROM loads
         WHERE id = ?",
        (id,),
    )?;
    let (source, position, calls, malformed, finished) =
        found.ok_or(mysql::DriverError::UnexpectedPacket)?;
    let state = LoadState {
        position,
        calls,
        malformed,
        finished,
    };
    Ok(Load { source, state })
}

/// What came of storing a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Done,
    /// The load is not where the chunk begins: another process does the same load, or this one has stored it before.
    Elsewhere,
}

/// Stores a chunk of a load that takes it from one state to another: calls, durations and state, in one transaction.
///
/// # Errors
/// As the database says. Of a COMMIT without an answer it is not known whether it was done; see [`begin_load`].
pub fn store_chunk(
    connection: &mut Conn,
    id: &str,
    [before, after]: [LoadState; 2],
    chunk: &Arc<Chunk>,
) -> Result<Stored, mysql::Error> {
    let local_infile: Option<bool> = connection.query_first("SELECT @@GLOBAL.local_infile")?;
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    // First, so that a second process with this load waits here, and then finds it elsewhere.
    if !advance(&mut transaction, id, before, after)? {
        return Ok(Stored::Elsewhere);
    }
    if local_infile == Some(true) {
        stream_calls(&mut transaction, Arc::clone(chunk))?;
    } else {
        insert_calls(&mut transaction, chunk.calls())?;
    }
    add_durations(&mut transaction, chunk.durations())?;
    transaction.commit()?;
    Ok(Stored::Done)
}

/// Whether the load was in this state, and now is in the other one.
fn advance(
    transaction: &mut Transaction<'_>,
    id: &str,
    before: LoadState,
    after: LoadState,
) -> Result<bool, mysql::Error> {
    transaction.exec_drop(
        "UPDATE loads
         SET
           next_position = ?,
           calls = ?,
           malformed = ?,
           finished_at = IF(?, UTC_TIMESTAMP(6), NULL)
         WHERE id = ? AND next_position = ? AND finished_at IS NULL",
        (
            after.position,
            after.calls,
            after.malformed,
            after.finished,
            id,
            before.position,
        ),
    )?;
    Ok(transaction.affected_rows() == 1)
}

/// Sends the calls as a file.
fn stream_calls(transaction: &mut Transaction<'_>, chunk: Arc<Chunk>) -> Result<(), mysql::Error> {
    let expected = chunk.calls().len() as u64;
    // Whatever file the server names: it gets these rows, and never a file of this machine.
    transaction.set_local_infile_handler(Some(LocalInfileHandler::new(move |_name, to_server| {
        for call in chunk.calls() {
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
        Err(not_all(expected, stored, warnings))
    }
}

fn not_all(expected: u64, stored: u64, warnings: u16) -> mysql::Error {
    mysql::Error::MySqlError(mysql::MySqlError {
        state: "HY000".to_owned(),
        message: format!("of {expected} calls it took {stored}, with {warnings} warnings"),
        code: 0,
    })
}

/// Rows of one INSERT: some 300 kB at most, which any server takes at once.
const INSERTED_ROWS: usize = 5_000;

/// Inserts the calls, where the server takes no files.
fn insert_calls(transaction: &mut Transaction<'_>, calls: &[Call]) -> Result<(), mysql::Error> {
    calls.chunks(INSERTED_ROWS).try_for_each(|calls| {
        let row = |call: &Call| {
            format!(
                "({}, {}, {})",
                call.phone, call.started_at, call.duration_ms
            )
        };
        let rows = joined(calls, row);
        transaction.query_drop(format!(
            "INSERT INTO calls (phone, started_at, duration_ms)
             VALUES {rows}"
        ))
    })
}

/// Adds to how many calls of which duration there are.
fn add_durations(
    transaction: &mut Transaction<'_>,
    durations: &[(Phone, u32, u64)],
) -> Result<(), mysql::Error> {
    durations.chunks(INSERTED_ROWS).try_for_each(|durations| {
        let row = |(phone, duration_ms, calls): &(Phone, u32, u64)| {
            format!("({phone}, {duration_ms}, {calls})")
        };
        let rows = joined(durations, row);
        transaction.query_drop(format!(
            "INSERT INTO call_durations (phone, duration_ms, calls)
             VALUES {rows}
             ON DUPLICATE KEY UPDATE calls = calls + VALUES(calls)"
        ))
    })
}

fn joined<T>(rows: &[T], row: impl Fn(&T) -> String) -> String {
    let rows: Vec<String> = rows.iter().map(row).collect();
    rows.join(", ")
}

/// A duration of which there are not as many calls as are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The phone.
    pub phone: u64,
    /// The duration.
    pub duration_ms: u32,
    /// How many calls there are.
    pub there: u64,
    /// How many calls are noted.
    pub noted: u64,
}

/// The next phone in the order of their numbers that has calls, or for which calls are noted.
///
/// # Errors
/// As the database says.
pub fn next_phone(connection: &mut Conn, after: Option<u64>) -> Result<Option<u64>, mysql::Error> {
    let above = after.map_or(String::new(), |phone| format!("WHERE phone > {phone}"));
    let phone: Option<Option<u64>> = connection.query_first(format!(
        "SELECT MIN(phone)
         FROM (
           SELECT MIN(phone) AS phone FROM calls FORCE INDEX (phone) {above}
           UNION ALL
           SELECT MIN(phone) FROM call_durations {above}
         ) AS phones"
    ))?;
    Ok(phone.flatten())
}

/// How many calls a phone has, and where they are others than what is noted. One statement, so that a load in between
/// does not look like a difference.
///
/// # Errors
/// As the database says.
pub fn differences(
    connection: &mut Conn,
    phone: u64,
) -> Result<(u64, Vec<Difference>), mysql::Error> {
    let compared = format!(
        "SELECT duration_ms, SUM(there), SUM(noted)
         FROM (
           SELECT duration_ms, COUNT(*) AS there, 0 AS noted
           FROM calls FORCE INDEX (phone)
           WHERE phone = {phone}
           GROUP BY duration_ms
           UNION ALL
           SELECT duration_ms, 0, calls
           FROM call_durations
           WHERE phone = {phone}
         ) AS both_sides
         GROUP BY duration_ms
         ORDER BY duration_ms"
    );
    let collect = |(mut calls, mut different): (u64, Vec<_>), (duration_ms, there, noted)| {
        calls += there;
        if there != noted {
            different.push(Difference {
                phone,
                duration_ms,
                there,
                noted,
            });
        }
        (calls, different)
    };
    connection.query_fold(compared, (0, Vec::new()), collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_with_its_first_whole_millisecond_and_ends_before_its_end() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().expect("it is a date");
        for (text, first) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1970-01-01T00:00:00.001000001Z", 2),
            ("1969-12-31T23:59:59.9995Z", 0),
            ("1969-12-31T23:59:59.998Z", 0),
        ] {
            assert_eq!(first_millisecond(time(text)), first, "{text}");
        }
        let period = Period::new(Some(time("1970-01-01T00:00:01Z")), None);
        assert_eq!(period.condition(), " AND started_at >= 1000");
        assert!(!period.is_all() && Period::new(None, None).is_all());
    }
}
