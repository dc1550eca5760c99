//! Opens a database: connects, creates what is absent, checks what is there.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, DriverError, OptsBuilder};

use crate::telemetry::Registry;

use super::error::{DENIED, DatabaseError, ErrorClass};
use super::hosts::Hosts;
use super::metrics::PoolMetrics;
use super::options::DatabaseArgs;
use super::outage::Outage;
use super::primary::Unfit;
use super::results::run_all;
use super::timeouts::Timeouts;
use super::url::DatabaseUrls;

/// The pause between two attempts to reach a database that is not up yet.
const STARTUP_PAUSE: Duration = Duration::from_millis(250);
/// The time between two log lines about it.
const STARTUP_REPORT: Duration = Duration::from_secs(5);

/// The tables of a service, and what it needs of their database.
#[derive(Clone, Copy)]
pub struct Schema {
    /// Creates what is absent. May run again, and by several processes at the same time.
    pub sql: &'static str,
    /// Whether all of it is there.
    pub is_complete: fn(&mut Conn) -> Result<bool, DatabaseError>,
    /// What is wrong with it, if anything is: then the start is refused.
    pub fault: fn(&mut Conn) -> Result<Option<String>, DatabaseError>,
    /// Most connections that one process takes.
    pub connections: u8,
    /// What to do if a right is missing.
    pub rights: &'static str,
}

/// Whether all of these tables and views are in the connection's database. For [`Schema::is_complete`].
///
/// # Errors
/// As the database says.
pub fn has_relations(connection: &mut Conn, names: &[&'static str]) -> Result<bool, DatabaseError> {
    let found: Option<usize> = connection.query_first(format!(
        "SELECT COUNT(*)
         FROM information_schema.tables
         WHERE table_schema = DATABASE() AND table_name IN ('{}')",
        names.join("', '")
    ))?;
    Ok(found == Some(names.len()))
}

/// A database with the tables of a service in it.
#[derive(Clone)]
pub struct Database {
    pub(super) hosts: Arc<Hosts>,
    timeouts: Timeouts,
    pub(super) registry: Registry,
    outage: Arc<Outage>,
}

impl DatabaseArgs {
    /// Opens the database: waits for at most `startup_timeout` until it is up, creates what is absent, and checks what is there.
    ///
    /// # Errors
    /// [`SetupError`]
    pub fn open(&self, schema: &Schema, registry: &Registry) -> Result<Database, SetupError> {
        let (url, timeouts) = (&self.urls(), self.timeouts);
        let options = url.options(timeouts).map_err(SetupError::Url)?;
        let name = options[0].get_db_name().unwrap_or_default().to_owned();
        // It may not be there yet.
        let without_database = options.iter().map(|options| {
            let options = OptsBuilder::from_opts(options.clone());
            options.db_name(None::<String>).into()
        });
        let servers = Hosts::new(without_database.collect(), timeouts);
        let start = Instant::now();
        let mut reported = None;
        while let Some(cause) = prepare(&servers, url, &name, schema)? {
            let waited = start.elapsed();
            if waited >= self.startup_timeout {
                return Err(SetupError::Database(format!(
                    "no database at {url} after {waited:?}: {cause}; is it running, and is the address right?"
                )));
            }
            if reported.is_none_or(|last: Instant| last.elapsed() >= STARTUP_REPORT) {
                tracing::info!(%url, error = cause, "waiting for the database");
                reported = Some(Instant::now());
            }
            std::thread::sleep(STARTUP_PAUSE.min(self.startup_timeout.saturating_sub(waited)));
        }
        Ok(Database {
            hosts: Hosts::new(options, timeouts),
            timeouts,
            registry: registry.clone(),
            outage: Arc::default(),
        })
    }
}

impl Database {
    /// Metrics of one connection outside of a pool, see [`Self::connect`]. Once for each name.
    #[must_use]
    pub fn metrics(&self, name: &'static str) -> PoolMetrics {
        PoolMetrics::new(&self.registry, name, 1)
    }

    /// Where failures and successes of the database are recorded, for the log.
    #[must_use]
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    /// How long the database may take.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// Creates what is absent, and checks what is there. Returns why the database is not ready, if it may be ready later.
fn prepare(
    servers: &Arc<Hosts>,
    url: &DatabaseUrls,
    name: &str,
    schema: &Schema,
) -> Result<Option<String>, SetupError> {
    let mut connection = match servers.connect() {
        Ok(connection) => connection,
        Err(no_primary) => {
            let is_final = |(_, unfit): &(_, Unfit)| match unfit {
                Unfit::Failed(error) => !may_succeed_later(error),
                _ => false,
            };
            return match &no_primary.0[0] {
                (_, Unfit::Failed(first)) if no_primary.0.iter().all(is_final) => {
                    Err(refused(url, first, schema))
                }
                _ => Ok(Some(no_primary.to_string())),
            };
        }
    };
    match create_and_check(&mut connection, name, schema) {
        Ok(None) => Ok(None),
        Ok(Some(fault)) => Err(SetupError::Database(format!(
            "the database at {url} cannot be used: {fault}"
        ))),
        Err(error) if may_succeed_later(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(refused(url, &error, schema)),
    }
}

/// Returns what is wrong with the database, if anything is.
fn create_and_check(
    connection: &mut Conn,
    name: &str,
    schema: &Schema,
) -> Result<Option<String>, DatabaseError> {
    if let Some(fault) = too_few_connections(connection, schema.connections)? {
        return Ok(Some(fault));
    }
    enter(connection, name)?;
    if !(schema.is_complete)(connection)? {
        tracing::info!("creating the tables");
        run_all(connection, schema.sql)?;
    }
    if let Some(fault) = (schema.fault)(connection)? {
        return Ok(Some(fault));
    }
    warn_of_lost_durability(connection)?;
    Ok(None)
}

/// Checks how many connections the account may have: with too few, readers could take all of them, and writers would get none.
fn too_few_connections(connection: &mut Conn, needed: u8) -> Result<Option<String>, DatabaseError> {
    // The session's value is the limit in effect: the account's, or else the server's for each user. 0 is no limit.
    let limit: Option<i64> = connection.query_first("SELECT @@SESSION.max_user_connections")?;
    let too_few = limit.filter(|limit| (1..needed.into()).contains(limit));
    Ok(too_few.map(|limit| {
        format!(
            "max_user_connections is {limit} for this user, and each replica takes up to {needed} connections"
        )
    }))
}

/// Logs a warning if a crash of the database can lose transactions: the operator may have decided so, but should know.
fn warn_of_lost_durability(connection: &mut Conn) -> Result<(), DatabaseError> {
    let settings: Option<(i64, i64, i64)> = connection.query_first(
        "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog",
    )?;
    let (flush, log_bin, sync) = settings.unwrap_or((1, 0, 0));
    let weak = [
        ("innodb_flush_log_at_trx_commit", flush, flush != 1),
        // With a binary log, recovery rolls back transactions that are not in it.
        ("sync_binlog", sync, log_bin != 0 && sync != 1),
    ];
    for (setting, value, _) in weak.into_iter().filter(|(.., weak)| *weak) {
        tracing::warn!(
            setting,
            value,
            "a crash of the database can lose what was answered with success; 1 prevents it"
        );
    }
    Ok(())
}

const UNKNOWN_DATABASE: u16 = 1049;

/// Uses the database, and creates it if it is absent.
fn enter(connection: &mut Conn, name: &str) -> Result<(), DatabaseError> {
    let entered = connection.select_db(name).map_err(DatabaseError::from);
    match entered {
        Err(error) if error.code() == Some(UNKNOWN_DATABASE) => {}
        other => return other,
    }
    tracing::info!(database = name, "creating the database");
    let quoted = name.replace('`', "``");
    connection.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{quoted}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ))?;
    Ok(connection.query_drop(format!("USE `{quoted}`"))?)
}

fn refused(url: &DatabaseUrls, error: &DatabaseError, schema: &Schema) -> SetupError {
    let advice = advice(url, error, schema);
    let separator = if advice.is_empty() { "" } else { "; " };
    SetupError::Database(format!(
        "the database at {url} refused: {error}{separator}{advice}"
    ))
}

fn advice(url: &DatabaseUrls, error: &DatabaseError, schema: &Schema) -> &'static str {
    match &error.0 {
        mysql::Error::DriverError(DriverError::TlsNotSupported) => TLS_IS_ASKED_FOR,
        // For users that do not exist MySQL asks for a random method, in order not to disclose that.
        mysql::Error::DriverError(DriverError::UnknownAuthPlugin(_)) => WRONG_USER,
        mysql::Error::CodecError(_) | mysql::Error::TlsError(_) if url.asks_for_tls() => {
            WRONG_CERTIFICATE
        }
        _ => match error.code() {
            Some(code) if DENIED.contains(&code) => schema.rights,
            Some(1045 | 1698) => WRONG_USER,
            Some(1054 | 1146) => "its tables are not those of schema.sql, use another database",
            Some(3159) => "ask for TLS, as by ?ssl-ca=/path/to/ca.pem in the database URL",
            Some(1286) => "the server needs the InnoDB storage engine",
            _ => "",
        },
    }
}

const TLS_IS_ASKED_FOR: &str = "TLS is asked for by the ssl- options of the database URL";
const WRONG_USER: &str =
    "check user and password of the database URL, and its ssl- options if the user must use TLS";
const WRONG_CERTIFICATE: &str = "in the database URL, ssl-ca names the authority that signs its certificate, and \
    ssl-mode=verify_ca accepts any host name";

/// Whether the same may succeed later. Not if the database takes no writes, which may be permanent.
fn may_succeed_later(error: &DatabaseError) -> bool {
    match &error.0 {
        mysql::Error::MySqlError(_) => matches!(
            error.class(),
            ErrorClass::LockTimeout
                | ErrorClass::Conflict
                | ErrorClass::Connection
                | ErrorClass::Unavailable
        ),
        mysql::Error::IoError(_) => true,
        // A time-out of a slow answer. A refused certificate is reported as invalid data.
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

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not of the form `mysql://user:password@host:3306/name`.
    #[error("the database URL is not of the form mysql://user:password@host:3306/name: {0}")]
    Url(String),
    /// It does not come up, refuses, or cannot keep the promises: the text says which, and what to change.
    #[error("{0}")]
    Database(String),
}
