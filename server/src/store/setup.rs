//! From a URL to a database that is ready: connect, create what is absent, check what is there.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, DriverError};

use crate::metrics::Metrics;

use super::hosts::{Hosts, NoConnection};
use super::{DatabaseUrls, Remedy, Store, Timeouts, Trouble, rights, run_all, tables};

const SCHEMA: &str = include_str!("../../../schema.sql");

/// Between two tries to reach a database that is not up yet.
const STARTUP_PAUSE: Duration = Duration::from_millis(250);
/// Between two lines in the log that say so.
const STARTUP_REPORT: Duration = Duration::from_secs(5);

impl Store {
    /// Waits until the database is up, creates what is absent, and checks what is there.
    ///
    /// # Errors
    /// [`SetupError`]
    pub fn open(
        url: &DatabaseUrls,
        timeouts: Timeouts,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<Self, SetupError> {
        let options = url.options(timeouts)?;
        let name = options[0].get_db_name().unwrap_or_default().to_owned();
        let hosts = Hosts::new(options, timeouts);
        let mut connection = wait_for(url, &hosts.without_database(timeouts), patience)?;
        let refused = |error| refused(url, &error);
        enter(&mut connection, &name).map_err(refused)?;
        if !is_complete(&mut connection).map_err(refused)? {
            tracing::info!("creating the tables");
            run_all(&mut connection, SCHEMA).map_err(|stopped| refused(stopped.error))?;
        }
        let unfit = match tables::fault(&mut connection).map_err(refused)? {
            None => rights::rehearse(&mut connection)
                .map_err(refused)?
                .map(str::to_owned),
            fault => fault,
        };
        if let Some(detail) = unfit {
            return Err(SetupError::Unfit {
                url: url.clone(),
                detail,
            });
        }
        let packet: Option<usize> = connection
            .query_first("SELECT @@max_allowed_packet")
            .map_err(refused)?;
        Ok(Self::new(
            hosts,
            timeouts,
            packet.unwrap_or_default(),
            &metrics.database,
        ))
    }
}

fn wait_for(url: &DatabaseUrls, servers: &Hosts, patience: Duration) -> Result<Conn, SetupError> {
    let start = Instant::now();
    let mut reported = None;
    loop {
        let error = match servers.connect() {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if let Some(error) = refusal(&error) {
            return Err(refused(url, error));
        }
        let waited = start.elapsed();
        if waited >= patience {
            return Err(SetupError::NotUp {
                url: url.clone(),
                waited,
                error: why(&error),
            });
        }
        if reported.is_none_or(|last: Instant| last.elapsed() >= STARTUP_REPORT) {
            tracing::info!(%url, error = why(&error), "waiting for the database");
            reported = Some(Instant::now());
        }
        std::thread::sleep(STARTUP_PAUSE.min(patience.saturating_sub(waited)));
    }
}

const UNKNOWN_DATABASE: u16 = 1049;

/// Uses the database, and creates it if it is absent.
fn enter(connection: &mut Conn, name: &str) -> Result<(), mysql::Error> {
    match connection.select_db(name) {
        Err(mysql::Error::MySqlError(error)) if error.code == UNKNOWN_DATABASE => {}
        other => return other,
    }
    tracing::info!(database = name, "creating the database");
    let quoted = name.replace('`', "``");
    connection.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{quoted}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ))?;
    connection.query_drop(format!("USE `{quoted}`"))
}

/// Whether all of the schema is there. The last thing that it makes is the lock row.
fn is_complete(connection: &mut Conn) -> Result<bool, mysql::Error> {
    let relations: Option<u8> = connection.query_first(
        "SELECT COUNT(*)
         FROM information_schema.tables
         WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters', 'ordering_violations')",
    )?;
    if relations != Some(3) {
        return Ok(false);
    }
    let lock: Option<u8> = connection.query_first("SELECT 1 FROM counters WHERE user = ''")?;
    Ok(lock.is_some())
}

fn refused(url: &DatabaseUrls, error: &mysql::Error) -> SetupError {
    SetupError::Refused {
        url: url.clone(),
        error: said(error),
        advice: match error {
            mysql::Error::DriverError(DriverError::SetupError) => NO_ROWS,
            mysql::Error::DriverError(DriverError::TlsNotSupported) => TLS_IS_ASKED_FOR,
            mysql::Error::CodecError(_) | mysql::Error::TlsError(_) if url.asks_for_tls() => {
                WRONG_CERTIFICATE
            }
            _ => advice(error),
        },
    }
}

const NO_ROWS: &str = "; it sends no rows, see its setting sql_select_limit, and its init_connect";
const TLS_IS_ASKED_FOR: &str = "; TLS is asked for by the ssl- options of the database URL";
const WRONG_CERTIFICATE: &str = "; in the database URL, ssl-ca names the authority that signs its certificate, and \
    ssl-mode=verify_ca accepts any host name";

/// The error without the driver's wrapping.
fn said(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(error) => error.to_string(),
        mysql::Error::DriverError(error) => error.to_string(),
        mysql::Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What all hosts refuse for good.
fn refusal(error: &NoConnection) -> Option<&mysql::Error> {
    let errors = error.errors()?;
    let for_good = errors.iter().all(|error| !may_come_up(error));
    errors.first().copied().filter(|_| for_good)
}

fn why(error: &NoConnection) -> String {
    match error {
        NoConnection::OneHost(error) => said(error),
        other => other.to_string(),
    }
}

/// Whether the database may be up a little later.
fn may_come_up(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::MySqlError(_) => Trouble::of(error).remedy() == Remedy::Reconnect,
        mysql::Error::IoError(_) => true,
        // A time-out while it is slow to answer; but to TLS a certificate that is refused is invalid data.
        mysql::Error::CodecError(error) => error
            .source()
            .and_then(|error| error.downcast_ref::<io::Error>())
            .is_some_and(|error| error.kind() != io::ErrorKind::InvalidData),
        mysql::Error::DriverError(error) => {
            matches!(
                error,
                DriverError::ConnectTimeout
                    | DriverError::CouldNotConnect(_)
                    | DriverError::Timeout
            )
        }
        _ => false,
    }
}

fn advice(error: &mysql::Error) -> &'static str {
    let wrong_user = "; check user and password of the database URL, and its ssl- options if the user must use TLS";
    if let mysql::Error::DriverError(DriverError::UnknownAuthPlugin(_)) = error {
        // MySQL asks users that do not exist for any method, so as not to tell that they do not exist.
        return wrong_user;
    }
    match code(error) {
        Some(1045 | 1698) => wrong_user,
        Some(code) if rights::DENIED.contains(&code) => {
            "; grant this user SELECT and INSERT on messages, SELECT, INSERT and UPDATE on counters, and SELECT on \
             ordering_violations; to create what is absent also CREATE, CREATE VIEW and DROP on the database, or create \
             it yourself from schema.sql"
        }
        Some(1054 | 1146) => "; its tables are not those of schema.sql, use another database",
        Some(3159) => "; ask for TLS, as by ?ssl-ca=/path/to/ca.pem in the database URL",
        Some(1286) => "; the server needs the InnoDB storage engine",
        _ => "",
    }
}

fn code(error: &mysql::Error) -> Option<u16> {
    match error {
        mysql::Error::MySqlError(error) => Some(error.code),
        _ => None,
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not of the form `mysql://user:password@host:3306/name`.
    #[error("the database URL is not of the form mysql://user:password@host:3306/name: {0}")]
    Url(String),
    /// Not up, and did not come up in the time given.
    #[error(
        "no database at {url} after {waited:?}: {error}; is it running, and is the address right?"
    )]
    NotUp {
        /// Without the password.
        url: DatabaseUrls,
        /// How long it was tried.
        waited: Duration,
        /// The last failure.
        error: String,
    },
    /// It answered, and refused.
    #[error("the database at {url} refused: {error}{advice}")]
    Refused {
        /// Without the password.
        url: DatabaseUrls,
        /// What it said.
        error: String,
        /// What to change, where that is known.
        advice: &'static str,
    },
    /// The tables are there, and cannot keep the promises.
    #[error("the database at {url} cannot be used: {detail}")]
    Unfit {
        /// Without the password.
        url: DatabaseUrls,
        /// What is wrong with it.
        detail: String,
    },
}
