//! What every session of ours is, whatever the server's settings, its `init_connect` or a proxy would have it be.
//!
//! All connections are made in one place, which sends [`SessionSettings::pin`] right behind the login. What was set is read
//! back: a server may bound a variable (`--maximum-sql-select-limit`), and a proxy may keep a SET to itself.

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use super::results::{column, next_set};
use super::timeouts::Timeouts;

/// Seconds after which the database may close a connection without work. Longer than the pool keeps one, ten minutes.
const IDLE_SECONDS: u64 = 900;

/// Who knows a variable. The other takes what stands in the comment for a comment.
#[derive(Clone, Copy)]
enum KnownTo {
    Both,
    MariaDb,
    MySql,
}

/// One variable of a session.
struct Variable {
    known_to: KnownTo,
    name: &'static str,
    /// The value in the SET statement; none if another statement sets it, or if only the operator may.
    set_to: Option<String>,
    /// The value as the database shows it afterwards.
    shown_as: String,
}

impl Variable {
    fn new(known_to: KnownTo, name: &'static str, set_to: &str, shown_as: &str) -> Self {
        Self {
            known_to,
            name,
            set_to: Some(set_to.to_owned()),
            shown_as: shown_as.to_owned(),
        }
    }

    /// Shown as it is set.
    fn plain(name: &'static str, value: u64) -> Self {
        let value = value.to_string();
        Self::new(KnownTo::Both, name, &value, &value)
    }

    /// Not for the SET statement.
    fn only_checked(known_to: KnownTo, name: &'static str, shown_as: &str) -> Self {
        Self {
            set_to: None,
            ..Self::new(known_to, name, "", shown_as)
        }
    }

    /// A part of a list, behind a comma, for those who know the variable.
    fn listed(&self, part: &str) -> String {
        match self.known_to {
            KnownTo::Both => format!(", {part}"),
            KnownTo::MariaDb => format!(" /*M!100300 , {part} */"),
            KnownTo::MySql => format!(" /*!80000 , {part} */"),
        }
    }
}

/// The variables that change what our statements do.
fn variables(timeouts: Timeouts) -> Vec<Variable> {
    use KnownTo::{Both, MariaDb, MySql};
    let plain = Variable::plain;
    let checked = Variable::only_checked;
    let (lock_wait, silence) = (
        timeouts.lock_wait_seconds(),
        timeouts.wait_timeout_seconds(),
    );
    vec![
        // Off, pages show the first snapshot of their connection for ever, and what set-up writes is rolled back.
        plain("autocommit", 1),
        // CHAIN begins a transaction with each COMMIT, RELEASE ends the connection with it.
        Variable::new(Both, "completion_type", "0", "NO_CHAIN"),
        // Strict: a value that does not fit is an error and not cut. Nothing else: ANSI_QUOTES or ORACLE is another SQL.
        Variable::new(
            Both,
            "sql_mode",
            "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        ),
        // For SYSDATE: dates are UTC.
        Variable::new(Both, "time_zone", "'+00:00'", "+00:00"),
        // Fewer rows, or a refusal of large tables, would cut pages and replies short.
        plain("sql_select_limit", u64::MAX),
        plain("sql_big_selects", 1),
        // Off, InnoDB may take a second row with the same number or request id.
        plain("unique_checks", 1),
        // Bounds both kinds of waiting, for the lock and for those who change tables, below our own for an answer.
        plain("innodb_lock_wait_timeout", lock_wait),
        plain("lock_wait_timeout", lock_wait),
        // A pool finds its idle connections as it left them; the writer's own is shorter.
        plain("wait_timeout", IDLE_SECONDS),
        // A replica that freezes in the midst of a packet holds the lock no longer than one between packets.
        plain("net_read_timeout", silence),
        plain("net_write_timeout", silence),
        // Ends statements that wait for the lock; waiting has its own bounds.
        Variable::new(MariaDb, "max_statement_time", "0", "0.000000"),
        Variable::new(MySql, "max_execution_time", "0", "0"),
        // Is emptied of what a transaction made old only behind its commit in the engine, when its locks are free already
        // (commit_one_phase_2 in MariaDB's handler.cc): the next writer could be shown the past.
        Variable::new(MariaDb, "query_cache_type", "0", "OFF"),
        // Makes a table of a long list of users, and then does not lock their rows in order.
        Variable::new(MariaDb, "in_predicate_conversion_threshold", "0", "0"),
        // By SET NAMES. In a smaller character set what lies outside it becomes '?', and names become equal.
        checked(Both, "character_set_client", "utf8mb4"),
        checked(Both, "character_set_results", "utf8mb4"),
        checked(Both, "collation_connection", "utf8mb4_bin"),
        // By SET TRANSACTION. MariaDB knows the names of MySQL since 11.1 only.
        checked(MariaDb, "tx_isolation", "READ-COMMITTED"),
        checked(MySql, "transaction_isolation", "READ-COMMITTED"),
        checked(MariaDb, "tx_read_only", "0"),
        checked(MySql, "transaction_read_only", "0"),
        // To set it takes a right that we do without. Off, no replica of the database gets the messages.
        checked(Both, "sql_log_bin", "1"),
    ]
}

/// Makes sessions the same.
pub(super) struct SessionSettings {
    statements: String,
}

impl SessionSettings {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let variables = variables(timeouts);
        let set: String = variables
            .iter()
            .filter_map(|variable| {
                let value = variable.set_to.as_ref()?;
                Some(variable.listed(&format!("{} = {value}", variable.name)))
            })
            .collect();
        let shown: String = variables
            .iter()
            .map(|Variable { name, shown_as, .. }| {
                format!("'{name}', '{shown_as}', @@SESSION.{name}")
            })
            .zip(&variables)
            .map(|(part, variable)| variable.listed(&part))
            .collect();
        // The character set first, for all else is said in it. The isolation: each statement sees what was committed
        // when it began, so what is read after the lock was got is the present; and no gap is locked.
        let statements = format!(
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin;
             SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
             SET SESSION {};
             SELECT {}",
            set.trim_start_matches(", "),
            shown.trim_start_matches(", "),
        );
        Self { statements }
    }

    /// Sets all that matters, and checks that it is so. One round trip; the login comes before it, and nothing else.
    ///
    /// # Errors
    /// As the database says, or with the name of a variable that is not as it was set. Drop the connection.
    pub(super) fn pin(&self, connection: &mut Conn) -> Result<(), mysql::Error> {
        let mut results = connection.query_iter(self.statements.as_str())?;
        for _set in 0..3 {
            next_set(&mut results, Ok)?;
        }
        match next_set(&mut results, check)?.as_slice() {
            [()] => Ok(()),
            _ => Err(mysql::DriverError::UnexpectedPacket.into()),
        }
    }
}

/// A row of names, each followed by what its variable should be, and is.
fn check(mut row: Row) -> Result<(), mysql::Error> {
    for index in (0..row.len()).step_by(3) {
        let name: String = column(&mut row, index)?;
        let wanted: String = column(&mut row, index + 1)?;
        // It may be NULL.
        let is: Option<String> = column(&mut row, index + 2)?;
        if is.as_ref() != Some(&wanted) {
            let is = is.as_deref().unwrap_or("NULL");
            return Err(unlike(&format!(
                "its setting {name} is {is} in this session, and must be {wanted}"
            )));
        }
    }
    Ok(())
}

fn unlike(message: &str) -> mysql::Error {
    mysql::Error::MySqlError(mysql::MySqlError {
        state: "HY000".to_owned(),
        message: message.to_owned(),
        code: 0,
    })
}
