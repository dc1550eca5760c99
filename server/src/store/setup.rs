//! From a URL to a database that is ready: connect, create what is absent, check what is there.

use std::convert::Infallible;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, DriverError, Opts, OptsBuilder};
use r2d2_mysql::MySqlConnectionManager;
use r2d2_mysql::r2d2::{self, ManageConnection, Pool, PooledConnection};

use super::{Remedy, run_all};

const SCHEMA: &str = include_str!("../../../schema.sql");

/// One for the writer; the others read pages and answer `/readyz`.
const CONNECTIONS: u32 = 5;
/// Between two tries to reach a database that is not up yet.
const STARTUP_PAUSE: Duration = Duration::from_millis(250);
/// Between two lines in the log that say so.
const STARTUP_REPORT: Duration = Duration::from_secs(5);
/// The packet in which a batch travels is this many times as large as its users and texts: hexadecimal takes two bytes
/// for one, and no row is without its numbers.
const PACKET_PER_BATCH: usize = 4;

/// How long the database may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// For one answer.
    pub answer: Duration,
}

impl Timeouts {
    /// How long to wait for the lock, in seconds. Shorter than for an answer: an answer that says that the wait is
    /// over leaves no doubt, a lost connection does.
    fn lock_wait_seconds(&self) -> u64 {
        (self.answer.as_secs() / 2).max(1)
    }

    /// How long a writer may hold the lock without a word, in seconds: after this the database rolls it back, and the
    /// others go on. Longer than any pause of a healthy writer.
    fn silence_seconds(&self) -> u64 {
        self.lock_wait_seconds()
    }

    /// How often a writer without work speaks, so that its connection is kept.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.silence_seconds()) / 3
    }
}

/// Where the database is, and who we are there. Shows itself without the password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl FromStr for DatabaseUrl {
    // An error here would be shown together with the value, password and all. `options` refuses instead.
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.to_owned()))
    }
}

impl DatabaseUrl {
    fn options(&self, timeouts: Timeouts) -> Result<Opts, SetupError> {
        let options =
            Opts::from_url(&self.0).map_err(|error| SetupError::Url(error.to_string()))?;
        if options.get_db_name().is_none_or(str::is_empty) {
            return Err(SetupError::Url(
                "it names no database; add one, as in …:3306/dummy_messenger".to_owned(),
            ));
        }
        Ok(OptsBuilder::from_opts(options)
            // What the server says of its socket's path need not be true on this machine.
            .prefer_socket(false)
            .tcp_connect_timeout(Some(timeouts.connect))
            .read_timeout(Some(timeouts.answer))
            .write_timeout(Some(timeouts.answer))
            .into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(options) = Opts::from_url(&self.0) else {
            return write!(to, "(not a URL)");
        };
        let user = options.get_user().unwrap_or_default();
        let password = if options.get_pass().is_some() {
            ":***"
        } else {
            ""
        };
        let database = options.get_db_name().unwrap_or_default();
        let host = options.get_ip_or_hostname();
        match options.get_socket() {
            Some(socket) => write!(
                to,
                "mysql://{user}{password}@{host}/{database}?socket={socket}"
            ),
            None => write!(
                to,
                "mysql://{user}{password}@{host}:{}/{database}",
                options.get_tcp_port()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
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
        url: DatabaseUrl,
        /// How long it was tried.
        waited: Duration,
        /// The last failure.
        error: String,
    },
    /// It answered, and refused.
    #[error("the database at {url} refused: {error}{advice}")]
    Refused {
        /// Without the password.
        url: DatabaseUrl,
        /// What it said.
        error: String,
        /// What to change, where that is known.
        advice: &'static str,
    },
    /// The tables are there, and cannot keep the promises.
    #[error("the database at {url} cannot be used: {detail}, and only InnoDB has transactions")]
    Unfit {
        /// Without the password.
        url: DatabaseUrl,
        /// What is wrong with it.
        detail: String,
    },
}

/// A connection, and whether it may be used again. `r2d2_mysql` asks the server at each check-in; that costs a round
/// trip, and takes the late answer to a statement that timed out for a sign of health.
pub struct Session {
    connection: Conn,
    broken: bool,
}

impl Session {
    /// Not to be used again.
    pub fn give_up(&mut self) {
        self.broken = true;
    }
}

impl Deref for Session {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.connection
    }
}

/// A connection of the pool.
pub type Connection = PooledConnection<Sessions>;

/// Makes connections for the pool.
pub struct Sessions(MySqlConnectionManager);

impl ManageConnection for Sessions {
    type Connection = Session;
    type Error = mysql::Error;

    fn connect(&self) -> Result<Session, mysql::Error> {
        self.0.connect().map(|connection| Session {
            connection,
            broken: false,
        })
    }

    fn is_valid(&self, session: &mut Session) -> Result<(), mysql::Error> {
        self.0.is_valid(&mut session.connection)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.broken
    }
}

#[derive(Debug)]
struct LogErrors;

impl r2d2::HandleError<mysql::Error> for LogErrors {
    fn handle_error(&self, error: mysql::Error) {
        tracing::warn!(%error, "cannot connect to the database");
    }
}

/// A database with the tables in it, and a pool of connections to it.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Sessions>,
    timeouts: Timeouts,
    /// Bytes of users and texts that fit into one packet together.
    most_batch_bytes: usize,
}

impl Store {
    /// Waits until the database is up, creates what is absent, and checks what is there.
    ///
    /// # Errors
    /// [`SetupError`]
    pub fn open(
        url: &DatabaseUrl,
        timeouts: Timeouts,
        patience: Duration,
    ) -> Result<Self, SetupError> {
        let options = url.options(timeouts)?;
        let mut connection = wait_for(url, &options, patience)?;
        let refused = |error| refused(url, &error);
        if !is_complete(&mut connection).map_err(refused)? {
            tracing::info!("creating the tables");
            run_all(&mut connection, SCHEMA).map_err(refused)?;
        }
        check_tables(&mut connection, url)?;
        let packet: Option<usize> = connection
            .query_first("SELECT @@max_allowed_packet")
            .map_err(refused)?;
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .min_idle(Some(0))
            .connection_timeout(timeouts.connect)
            .error_handler(Box::new(LogErrors))
            .build_unchecked(Sessions(MySqlConnectionManager::new(
                OptsBuilder::from_opts(options),
            )));
        Ok(Self {
            pool,
            timeouts,
            most_batch_bytes: packet.unwrap_or_default() / PACKET_PER_BATCH,
        })
    }

    /// A connection for reading. Waits as long as connecting may take.
    ///
    /// # Errors
    /// If the database cannot be reached, or all connections are in use for that long.
    pub fn connection(&self) -> Result<Connection, r2d2::Error> {
        self.pool.get()
    }

    /// A connection set up for writing; the writer keeps it.
    ///
    /// # Errors
    /// The text of it, if there is none.
    pub fn writing_connection(&self) -> Result<Connection, String> {
        let mut session = self.pool.get().map_err(|error| error.to_string())?;
        run_all(&mut session, &self.writing_session()).map_err(|error| {
            session.give_up();
            error.to_string()
        })?;
        Ok(session)
    }

    /// How long it may take.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Bytes of users and texts that fit into one packet together.
    #[must_use]
    pub fn most_batch_bytes(&self) -> usize {
        self.most_batch_bytes
    }

    fn writing_session(&self) -> String {
        let (lock_wait, silence) = (
            self.timeouts.lock_wait_seconds(),
            self.timeouts.silence_seconds(),
        );
        // READ COMMITTED: each statement sees what was committed when it began, so what is read after the lock was got
        // is the present; and no gap is locked. Strict: a value that does not fit is an error. UTC, for SYSDATE.
        format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
             SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
                 time_zone = '+00:00',
                 innodb_lock_wait_timeout = {lock_wait},
                 wait_timeout = {silence},
                 net_read_timeout = {silence}"
        )
    }
}

/// Connects, and creates the database if it is absent.
fn wait_for(url: &DatabaseUrl, options: &Opts, patience: Duration) -> Result<Conn, SetupError> {
    let start = Instant::now();
    let mut reported = None;
    loop {
        let error = match Conn::new(options.clone()) {
            Ok(connection) => return Ok(connection),
            Err(error) if code(&error) == Some(UNKNOWN_DATABASE) => {
                match create_database(options) {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !may_come_up(&error) {
            return Err(refused(url, &error));
        }
        let waited = start.elapsed();
        if waited >= patience {
            return Err(SetupError::NotUp {
                url: url.clone(),
                waited,
                error: said(&error),
            });
        }
        if reported.is_none_or(|last: Instant| last.elapsed() >= STARTUP_REPORT) {
            tracing::info!(%url, error = said(&error), "waiting for the database");
            reported = Some(Instant::now());
        }
        std::thread::sleep(STARTUP_PAUSE.min(patience.saturating_sub(waited)));
    }
}

const UNKNOWN_DATABASE: u16 = 1049;

fn create_database(options: &Opts) -> Result<(), mysql::Error> {
    let name = options.get_db_name().unwrap_or_default().replace('`', "``");
    tracing::info!(database = options.get_db_name(), "creating the database");
    let mut connection =
        Conn::new(OptsBuilder::from_opts(options.clone()).db_name(None::<String>))?;
    connection.query_drop(format!(
        "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ))
}

/// Whether all of the schema is there. Its last statement puts the lock row in.
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

fn check_tables(connection: &mut Conn, url: &DatabaseUrl) -> Result<(), SetupError> {
    let refused = |error| refused(url, &error);
    let other_engine: Option<String> = connection
        .query_first(
            "SELECT CONCAT('the engine of table ', table_name, ' is ', engine)
             FROM information_schema.tables
             WHERE table_schema = DATABASE() AND table_name IN ('messages', 'counters') AND engine <> 'InnoDB'",
        )
        .map_err(refused)?;
    if let Some(detail) = other_engine {
        return Err(SetupError::Unfit {
            url: url.clone(),
            detail,
        });
    }
    let columns = "SELECT id, seq, messages.user, user_seq, text, sent_at, request_id, counters.messages, last_sent_at, repeats
                   FROM messages, counters
                   LIMIT 0";
    connection.query_drop(columns).map_err(refused)
}

fn refused(url: &DatabaseUrl, error: &mysql::Error) -> SetupError {
    SetupError::Refused {
        url: url.clone(),
        error: said(error),
        advice: advice(error),
    }
}

/// The error without the driver's wrapping.
fn said(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(error) => error.to_string(),
        mysql::Error::DriverError(error) => error.to_string(),
        mysql::Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Whether the database may be up a little later.
fn may_come_up(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::MySqlError(_) => Remedy::of(error) == Remedy::Reconnect,
        mysql::Error::IoError(_) => true,
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
    let wrong_user = "; check user and password of the database URL";
    if let mysql::Error::DriverError(DriverError::UnknownAuthPlugin(_)) = error {
        // MySQL asks users that do not exist for any method, so as not to tell that they do not exist.
        return wrong_user;
    }
    match code(error) {
        Some(1045 | 1698) => wrong_user,
        Some(1044 | 1142 | 1227) => {
            "; let this user have the database (GRANT), or create it and its tables from schema.sql yourself"
        }
        Some(1054 | 1146) => "; its tables are not those of schema.sql, use another database",
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
