//! The settings of all sessions, whatever the server's configuration, its `init_connect` or a proxy set.
//!
//! All connections are made in one place, which calls [`pin`] right after the login. The settings are read back: a server may
//! limit a variable (`--maximum-sql-select-limit`), and a proxy may not pass on a SET.

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use super::error::DatabaseError;
use super::results::{column, next_set};
use super::timeouts::Timeouts;

/// Seconds after which the database closes an idle connection, and rolls back the transaction of a frozen process. Longer than
/// a pool keeps one, see [`MAX_IDLE`](super::pool::MAX_IDLE).
const IDLE_SECONDS: u64 = 90;

/// The databases that know a variable: the text before and after it in a list, which makes it a comment for the other.
type KnownTo = [&'static str; 2];

/// The databases that know a variable, its name, and its value in SQL.
type Variable<'v> = (KnownTo, &'static str, &'v str);

const BOTH: KnownTo = [", ", ""];
const MARIADB: KnownTo = [" /*M!100300 , ", " */"];
const MYSQL: KnownTo = [" /*!80000 , ", " */"];

/// The statements that set, and read back, the variables which affect our statements.
pub(super) fn statements(timeouts: Timeouts) -> String {
    let numbers = [timeouts.wait_timeout_seconds(), IDLE_SECONDS, u64::MAX];
    let [wait, idle, most] = &numbers.map(|number| number.to_string());
    // Set, and read back.
    let set: [Variable<'_>; 16] = [
        // If off, reads would see the first snapshot of their connection for ever, and what set-up writes would be rolled back.
        (BOTH, "autocommit", "1"),
        // CHAIN would begin a transaction with each COMMIT, RELEASE would end the connection.
        (BOTH, "completion_type", "'NO_CHAIN'"),
        // Strict: a value that does not fit is an error, and not truncated. No other modes: ANSI_QUOTES and ORACLE change the
        // SQL.
        (
            BOTH,
            "sql_mode",
            "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        ),
        // SYSDATE gives UTC.
        (BOTH, "time_zone", "'+00:00'"),
        // A limit of rows, or a refusal of large joins, would make results incomplete.
        (BOTH, "sql_select_limit", most),
        (BOTH, "sql_big_selects", "1"),
        // If off, InnoDB may accept a second row with the same unique key.
        (BOTH, "unique_checks", "1"),
        // Waits for row locks and for metadata locks end before our own time-out for an answer.
        (BOTH, "innodb_lock_wait_timeout", wait),
        (BOTH, "lock_wait_timeout", wait),
        // Longer than a pool keeps idle connections; the writer's own is shorter.
        (BOTH, "wait_timeout", idle),
        // A process that freezes within a packet holds its locks no longer than one that freezes between packets.
        (BOTH, "net_read_timeout", wait),
        (BOTH, "net_write_timeout", wait),
        // Off, because it would end statements that wait for a lock, which has its own time-out.
        (MARIADB, "max_statement_time", "0.000000"),
        (MYSQL, "max_execution_time", "0"),
        // Off, because its entries are invalidated only after the commit in the engine, when the locks are released already
        // (commit_one_phase_2 in MariaDB's handler.cc): the next writer could read old data.
        (MARIADB, "query_cache_type", "'OFF'"),
        // Off, because MariaDB does not lock rows in order after it converts a long list into a table.
        (MARIADB, "in_predicate_conversion_threshold", "0"),
    ];
    let only_read: [Variable<'_>; 8] = [
        // Set by SET NAMES. A smaller character set would turn other characters into '?', and make names equal.
        (BOTH, "character_set_client", "'utf8mb4'"),
        (BOTH, "character_set_results", "'utf8mb4'"),
        (BOTH, "collation_connection", "'utf8mb4_bin'"),
        // Set by SET TRANSACTION. MariaDB knows MySQL's names only since 11.1.
        (MARIADB, "tx_isolation", "'READ-COMMITTED'"),
        (MYSQL, "transaction_isolation", "'READ-COMMITTED'"),
        (MARIADB, "tx_read_only", "0"),
        (MYSQL, "transaction_read_only", "0"),
        // Only checked, because setting it needs a further right. If off, replicas of the database miss what is written.
        (BOTH, "sql_log_bin", "1"),
    ];
    let assignment = |([before, behind], name, value): &Variable<'_>| {
        format!("{before}{name} = {value}{behind}")
    };
    let reading = |([before, behind], name, value): &Variable<'_>| {
        format!("{before}'{name}', {value}, @@SESSION.{name}{behind}")
    };
    let assignments: String = set.iter().map(assignment).collect();
    let readings: String = set.iter().chain(&only_read).map(reading).collect();
    // The character set first, because the rest is sent in it. Isolation: each statement sees what was committed when it began,
    // so a read under the lock sees the latest state; and no gaps are locked.
    format!(
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin;
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
         SET SESSION {};
         SELECT {}",
        assignments.trim_start_matches(", "),
        readings.trim_start_matches(", "),
    )
}

/// Sets all variables by these [`statements`], and checks them. One round trip, right after the login.
///
/// # Errors
/// As the database says, or with the name of a variable that is not as it was set. Drop the connection.
pub(super) fn pin(connection: &mut Conn, statements: &str) -> Result<(), DatabaseError> {
    let mut results = connection.query_iter(statements)?;
    for _set in 0..3 {
        next_set::<Row>(&mut results)?;
    }
    match next_set(&mut results)?.pop() {
        Some(variables) => check(variables),
        None => Err(mysql::DriverError::UnexpectedPacket.into()),
    }
}

/// Checks a row of names, each followed by the expected and the actual value of the variable.
fn check(mut row: Row) -> Result<(), DatabaseError> {
    for index in (0..row.len()).step_by(3) {
        let name: String = column(&mut row, index)?;
        let wanted: String = column(&mut row, index + 1)?;
        let is: Option<String> = column(&mut row, index + 2)?;
        let is = is.as_deref().unwrap_or("NULL");
        if is != wanted {
            return Err(DatabaseError::new(format!(
                "its setting {name} is {is} in this session, and must be {wanted}"
            )));
        }
    }
    Ok(())
}
