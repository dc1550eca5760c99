//! Errors of the database, and what they mean.

/// The unique key that keeps requests from being done twice: it has this name in the schema of each service.
const REQUEST_ID: &str = "request_id";

/// Errors that mean that a right is missing: access denied to the database, to a table, to a column; missing privilege.
pub(super) const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

/// An error of the database, or of the connection to it. Its text does not contain what clients have sent, which the database
/// quotes if a key is not unique, or if a text does not fit a character set.
#[derive(Debug, thiserror::Error)]
#[error("{}", without_values(.0))]
pub struct DatabaseError(pub(super) mysql::Error);

/// From each error of the driver.
impl<E: Into<mysql::Error>> From<E> for DatabaseError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl DatabaseError {
    /// An error that the database did not report itself: something there is not as it must be. Its code is 0, its class
    /// [`ErrorClass::Unknown`].
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::from(mysql::MySqlError {
            state: "HY000".to_owned(),
            message: message.into(),
            code: 0,
        })
    }

    /// The database's code of the error; none if the database did not report it.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match &self.0 {
            mysql::Error::MySqlError(error) => Some(error.code),
            _ => None,
        }
    }

    /// What it means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match &self.0 {
            mysql::Error::MySqlError(error) => ErrorClass::of(error),
            _ => ErrorClass::Connection,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.class().recovery()
    }
}

/// The class of an error, by which it is handled and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The lock was not free in time.
    LockTimeout,
    /// The database ended this transaction because of another one.
    Conflict,
    /// The connection was lost, killed, timed out, or never made.
    Connection,
    /// The database is starting or stopping, has too many connections, or is leaving its group.
    Unavailable,
    /// It takes no writes now.
    ReadOnly,
    /// It has no space, or cannot write.
    Storage,
    /// A request id is stored already: another replica got the repeated request, and stored it.
    Duplicate,
    /// The statement is larger than the database takes at once.
    TooLarge,
    /// The database will never take these values.
    Refused,
    /// The error does not tell whether the values are its cause.
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

    /// By the codes in the error references of MySQL and MariaDB; of an unknown code, by the class of its SQLSTATE.
    fn of(error: &mysql::MySqlError) -> Self {
        match error.code {
            1062 if key_of(&error.message) == Some(REQUEST_ID) => Self::Duplicate,
            1205 => Self::LockTimeout,
            // Record changed; no room for more locks; deadlock.
            1020 | 1206 | 1213 => Self::Conflict,
            // Network errors seen by the server; connection aborted; statement or connection killed; statement timed out, by
            // an option of the server; session killed; idle for too long. Codes of clients: from a proxy, which is one.
            1158..=1161 | 1184 | 1317 | 1927 | 1969 | 3024 | 3169 | 4031 | 2000..=2999 => {
                Self::Connection
            }
            // Too many connections; out of memory; shutdown; not yet a cluster member; host blocked after too many failed
            // connections; user has too many connections, or has used up a resource; too many transactions; offline mode;
            // not available.
            1040 | 1041 | 1053 | 1047 | 1129 | 1203 | 1226 | 1637 | 3032 | 3168
            // The replication group does not let a transaction begin, or wait for what came before.
            | 3796..=3799
            // Not a server's code: ProxySQL and other proxies have no connection to the database.
            | 7000..
            // Error during COMMIT; rolled back by replication, which may have passed it on before: the outcome is unknown.
            | 1180 | 3101 => Self::Unavailable,
            // Read-only: by option, by transaction, by mode, by table; refused by a replication hook.
            1290 | 1792 | 1836 | 1036 | 3100 => Self::ReadOnly,
            // Error writing a temporary file; disk full, table full, error writing a file, error from the storage engine.
            3 | 1021 | 1114 | 1026 | 1030 => Self::Storage,
            1153 => Self::TooLarge,
            // A string that the column's character set lacks; a check constraint. Their SQLSTATE is unspecific.
            1366 | 3819 => Self::Refused,
            _ => Self::of_state(&error.state),
        }
    }

    fn of_state(state: &str) -> Self {
        match state.get(..2) {
            Some("08") => Self::Connection,
            Some("40") => Self::Conflict,
            // Data exception, integrity violation, an error raised by a trigger.
            Some("22" | "23" | "45") => Self::Refused,
            // Not known to be caused by the values. An error in the statement (42) never is: values stand in it as literals
            // only.
            _ => Self::Unknown,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn recovery(self) -> Recovery {
        match self {
            Self::LockTimeout | Self::Conflict | Self::Duplicate => Recovery::TryAgain,
            // After a time-out the driver would take the late answer for that of the next statement.
            Self::Connection | Self::Unavailable | Self::ReadOnly | Self::Storage => {
                Recovery::Reconnect
            }
            Self::TooLarge => Recovery::Split,
            Self::Refused | Self::Unknown => Recovery::TrySingly,
        }
    }

    /// Whether the database may have run the statement all the same, as when the connection is lost.
    #[must_use]
    pub fn may_hide_a_loss(self) -> bool {
        // A proxy may report that it lost its own connection: ProxySQL with 2013, MaxScale, with `error_on_write`, with 1290.
        matches!(self, Self::Connection | Self::Unavailable | Self::ReadOnly)
    }

    /// The name of the class in the metrics.
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

/// The text of an error, without the driver's prefix.
fn without_values(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(error) if [1062, 1366].contains(&error.code) => {
            let key = key_of(&error.message).filter(|_| error.code == 1062);
            let of = key.map_or(String::new(), |name| format!(", of {name}"));
            format!("ERROR {} ({}){of}", error.code, error.state)
        }
        mysql::Error::MySqlError(error) => error.to_string(),
        mysql::Error::DriverError(error) => error.to_string(),
        mysql::Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The name of the key in the text of error 1062, which ends with it in quotes; in `MySQL` after the table's name. The text
/// before is a value, which may look like the name of a key.
fn key_of(message: &str) -> Option<&str> {
    let (before, _end) = message.rsplit_once('\'')?;
    let (_before, key) = before.rsplit_once('\'')?;
    key.rsplit('.').next()
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Another attempt may succeed: `ROLLBACK` and try again.
    TryAgain,
    /// The connection is unusable, or its server takes no writes now: drop it and connect again.
    Reconnect,
    /// The statement is too large: `ROLLBACK` and try again with less.
    Split,
    /// The database refuses some of it: `ROLLBACK` and try each part by itself.
    TrySingly,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u16, state: &str, message: &str) -> ErrorClass {
        ErrorClass::of(&mysql::MySqlError {
            state: state.to_owned(),
            message: message.to_owned(),
            code,
        })
    }

    #[test]
    fn a_duplicate_is_recognized_by_the_key_and_not_by_what_clients_sent() {
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
    fn what_clients_sent_is_not_shown() {
        let shown = |code, message: &str| {
            let state = "23000".to_owned();
            let message = message.to_owned();
            let error = mysql::MySqlError {
                state,
                message,
                code,
            };
            DatabaseError::from(error).to_string()
        };
        let duplicate = shown(1062, "Duplicate entry 'secret' for key 'messages.user_seq'");
        assert_eq!(duplicate, "ERROR 1062 (23000), of user_seq");
        let unfit = shown(1366, "Incorrect string value: 'secret' for column 'text'");
        assert_eq!(unfit, "ERROR 1366 (23000)");
        assert_eq!(shown(1213, "Deadlock"), "ERROR 1213 (23000): Deadlock");
    }

    #[test]
    fn errors_of_the_database_or_the_connection_are_never_attributed_to_the_message() {
        // Codes of servers, of ProxySQL, and unknown ones.
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
