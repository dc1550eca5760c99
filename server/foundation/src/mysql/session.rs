//! What every session of ours is, whatever the server's settings, its `init_connect` or a proxy would have it be.
//!
//! All connections are made in one place, which calls [`pin`] right behind the login. What was set is read back: a server
//! may bound a variable (`--maximum-sql-select-limit`), and a proxy may keep a SET to itself.

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use super::error::DatabaseError;
use super::results::{column, next_set};
use super::timeouts::Timeouts;

/// Seconds after which the database closes a connection without work, and undoes what a process that is frozen has begun.
/// Longer than the pool keeps one, see [`MAX_IDLE`](super::pool::MAX_IDLE).
const IDLE_SECONDS: u64 = 90;

/// Who knows a variable: what stands before and behind it in a list. For the other it is a comment.
type KnownTo = [&'static str; 2];

const BOTH: KnownTo = [", ", ""];
const MARIADB: KnownTo = [" /*M!100300 , ", " */"];
const MYSQL: KnownTo = [" /*!80000 , ", " */"];

/// The statements that set the variables which change what our statements do, and read them.
pub(super) fn statements(timeouts: Timeouts) -> String {
    let numbers = [timeouts.wait_timeout_seconds(), IDLE_SECONDS, u64::MAX];
    let [wait, idle, most] = &numbers.map(|number| number.to_string());
    // Who knows it, its name, the value in the SET statement, and the value as the database shows it afterwards. Without the
    // former another statement sets it, or only the operator may.
    let variables: [(KnownTo, &str, Option<&str>, &str); 24] = [
        // Off, pages show the first snapshot of their connection for ever, and what set-up writes is rolled back.
        (BOTH, "autocommit", Some("1"), "1"),
        // CHAIN begins a transaction with each COMMIT, RELEASE ends the connection with it.
        (BOTH, "completion_type", Some("0"), "NO_CHAIN"),
        // Strict: a value that does not fit is an error and not cut. Nothing else: ANSI_QUOTES or ORACLE is another SQL.
        (
            BOTH,
            "sql_mode",
            Some("'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"),
            "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        ),
        // For SYSDATE: dates are UTC.
        (BOTH, "time_zone", Some("'+00:00'"), "+00:00"),
        // Fewer rows, or a refusal of large tables, would cut pages and replies short.
        (BOTH, "sql_select_limit", Some(most.as_str()), most),
        (BOTH, "sql_big_selects", Some("1"), "1"),
        // Off, InnoDB may take a second row with the same number or request id.
        (BOTH, "unique_checks", Some("1"), "1"),
        // Bounds both kinds of waiting, for the lock and for those who change tables, below our own for an answer.
        (BOTH, "innodb_lock_wait_timeout", Some(wait), wait),
        (BOTH, "lock_wait_timeout", Some(wait), wait),
        // A pool finds its idle connections as it left them; the writer's own is shorter.
        (BOTH, "wait_timeout", Some(idle), idle),
        // A replica that freezes in the midst of a packet holds the lock no longer than one between packets.
        (BOTH, "net_read_timeout", Some(wait), wait),
        (BOTH, "net_write_timeout", Some(wait), wait),
        // Ends statements that wait for the lock; waiting has its own bounds.
        (MARIADB, "max_statement_time", Some("0"), "0.000000"),
        (MYSQL, "max_execution_time", Some("0"), "0"),
        // Is emptied of what a transaction made old only behind its commit in the engine, when its locks are free already
        // (commit_one_phase_2 in MariaDB's handler.cc): the next writer could be shown the past.
        (MARIADB, "query_cache_type", Some("0"), "OFF"),
        // Makes a table of a long list of users, and then does not lock their rows in order.
        (MARIADB, "in_predicate_conversion_threshold", Some("0"), "0"),
        // By SET NAMES. In a smaller character set what lies outside it becomes '?', and names become equal.
        (BOTH, "character_set_client", None, "utf8mb4"),
        (BOTH, "character_set_results", None, "utf8mb4"),
        (BOTH, "collation_connection", None, "utf8mb4_bin"),
        // By SET TRANSACTION. MariaDB knows the names of MySQL since 11.1 only.
        (MARIADB, "tx_isolation", None, "READ-COMMITTED"),
        (MYSQL, "transaction_isolation", None, "READ-COMMITTED"),
        (MARIADB, "tx_read_only", None, "0"),
        (MYSQL, "transaction_read_only", None, "0"),
        // To set it takes a right that we do without. Off, no replica of the database gets the messages.
        (BOTH, "sql_log_bin", None, "1"),
    ];
    let (mut set, mut shown) = (String::new(), String::new());
    for ([before, behind], name, set_to, shown_as) in variables {
        if let Some(value) = set_to {
            set.extend([before, name, " = ", value, behind]);
        }
        shown.extend([
            before,
            "'",
            name,
            "', '",
            shown_as,
            "', @@SESSION.",
            name,
            behind,
        ]);
    }
    // The character set first, for all else is said in it. The isolation: each statement sees what was committed
    // when it began, so what is read after the lock was got is the present; and no gap is locked.
    format!(
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin;
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
         SET SESSION {};
         SELECT {}",
        set.trim_start_matches(", "),
        shown.trim_start_matches(", "),
    )
}

/// Sets all that matters by these [`statements`], and checks that it is so. One round trip; the login comes before it, and
/// nothing else.
///
/// # Errors
/// As the database says, or with the name of a variable that is not as it was set. Drop the connection.
pub(super) fn pin(connection: &mut Conn, statements: &str) -> Result<(), DatabaseError> {
    let mut results = connection.query_iter(statements)?;
    for _set in 0..3 {
        next_set(&mut results, Ok)?;
    }
    match next_set(&mut results, check)?.as_slice() {
        [()] => Ok(()),
        _ => Err(mysql::DriverError::UnexpectedPacket.into()),
    }
}

/// A row of names, each followed by what its variable should be, and is.
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
