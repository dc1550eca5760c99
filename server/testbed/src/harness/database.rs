//! An empty database for one test, on a shared server.

use std::{env, io};

use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Opts, OptsBuilder};
use url::Url;
use uuid::Uuid;

use super::eventually;
use crate::{DatabaseProcess, HostStatus, Proxy};

/// `ER_CANNOT_CONVERT_STRING`: a text has bytes that are invalid in its character set.
const CANNOT_CONVERT: u16 = 3854;

/// A database that is dropped at the end, unless it belongs to a [`DatabaseProcess`].
#[derive(Debug)]
pub struct Database {
    name: String,
    /// The URL of the server.
    server: String,
    on_drop: OnDrop,
}

#[derive(Debug, PartialEq, Eq)]
enum OnDrop {
    DropDatabase,
    /// It is deleted together with its server.
    Keep,
}

impl Database {
    /// Creates one with a random name, on the server at `DATABASE_URL`.
    #[expect(clippy::new_without_default, reason = "it creates a database")]
    pub fn new() -> Self {
        let server = env::var("DATABASE_URL").expect(
            "DATABASE_URL must name a MySQL or MariaDB server, like mysql://user:password@host/any; `./run.sh test` starts one",
        );
        let name = format!("dm_test_{}", Uuid::new_v4().simple());
        Self::create(&server, name).expect("the user of DATABASE_URL may create databases")
    }

    /// Creates one of this name on the server at this URL.
    ///
    /// # Errors
    /// As the database says, for instance if the user may not create databases.
    pub fn create(server: &str, name: String) -> io::Result<Self> {
        let options = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
        execute(
            server,
            &format!("CREATE DATABASE {} {options}", quoted(&name)),
        )?;
        Ok(Self {
            name,
            server: server.to_owned(),
            on_drop: OnDrop::DropDatabase,
        })
    }

    /// The database of a private server.
    pub fn of(server: &DatabaseProcess) -> Self {
        Self {
            name: DatabaseProcess::NAME.to_owned(),
            server: server.url(),
            on_drop: OnDrop::Keep,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for a replica. It always has a query, which may be empty.
    pub fn url(&self) -> String {
        let mut url = Url::parse(&self.server).expect("DATABASE_URL is a URL");
        url.path_segments_mut()
            .expect("DATABASE_URL has a host")
            .clear()
            .push(&self.name);
        if url.query().is_none() {
            url.set_query(Some(""));
        }
        url.into()
    }

    /// Starts a proxy for it.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(&self.url()).expect("DATABASE_URL is a mysql:// URL, and a port is free")
    }

    /// Starts a proxy for it that simulates a host of this status.
    pub fn host(&self, status: HostStatus) -> Proxy {
        let host = self.proxy();
        host.set(status);
        host
    }

    /// Connects to it.
    pub fn connect(&self) -> Conn {
        self.try_connect().expect("the database is up")
    }

    /// Connects to it, or returns the error.
    pub fn try_connect(&self) -> io::Result<Conn> {
        connect(&self.server, Some(&self.name))
    }

    /// The rows of a query.
    pub fn rows<T: FromRow>(&self, query: &str) -> Vec<T> {
        loop {
            match self.connect().query(query) {
                // MySQL's process list fails so while another test runs a statement with such bytes.
                Err(mysql::Error::MySqlError(error)) if error.code == CANNOT_CONVERT => {}
                rows => return rows.expect("the query is right"),
            }
        }
    }

    /// Fails with the rows of the view `ordering_violations`, if it has any.
    pub fn assert_in_order(&self) {
        let violations: Vec<(String, String)> =
            self.rows("SELECT violation, detail FROM ordering_violations");
        assert_eq!(violations, [], "ordering_violations");
    }

    /// The number of messages.
    pub fn count(&self) -> u64 {
        self.rows("SELECT COUNT(*) FROM messages")[0]
    }

    /// Acquires the lock that every writer needs. It is held until the connection ends its transaction.
    pub fn hold_the_lock(&self) -> Conn {
        let mut connection = self.connect();
        connection
            .query_drop("BEGIN")
            .expect("the connection is up");
        connection
            .query_drop("SELECT messages FROM counters WHERE user = '' FOR UPDATE")
            .expect("the lock is free");
        // The process list shows a statement for a moment after its reply. Now it shows this one, not the SELECT.
        connection.query_drop("DO 0").expect("the connection is up");
        connection
    }

    /// Waits until a transaction holds the lock that every writer needs.
    pub fn wait_until_the_lock_is_held(&self) {
        let unless_held = "SELECT messages FROM counters WHERE user = '' FOR UPDATE SKIP LOCKED";
        eventually("somebody holds the lock", || {
            self.rows::<u64>(unless_held).is_empty()
        });
    }

    /// Waits until a writer waits for the lock on a connection other than `known`, and returns the id of that connection.
    pub fn wait_for_a_writer(&self, known: Option<u64>) -> u64 {
        let mut writer = None;
        eventually("a writer waits for the lock", || {
            writer = self
                .waiting_writers()
                .into_iter()
                .find(|&writer| Some(writer) != known);
            writer.is_some()
        });
        writer.expect("it was found")
    }

    /// The ids of the connections on which a statement asks for the lock.
    pub fn waiting_writers(&self) -> Vec<u64> {
        self.rows(&format!(
            "SELECT id FROM information_schema.processlist
             WHERE db = '{}' AND info LIKE '%FOR UPDATE%' AND info NOT LIKE '%processlist%'",
            self.name
        ))
    }
}

impl Drop for Database {
    #[expect(clippy::print_stderr, reason = "reports what is left behind")]
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Keep {
            return;
        }
        let drop = format!("DROP DATABASE {}", quoted(&self.name));
        if let Err(error) = execute(&self.server, &drop) {
            eprintln!("drop the database {} yourself: {error}", self.name);
        }
    }
}

fn execute(server: &str, statement: &str) -> io::Result<()> {
    let executed = connect(server, None)?.query_drop(statement);
    executed.map_err(io::Error::other)
}

fn connect(server: &str, name: Option<&str>) -> io::Result<Conn> {
    let options = Opts::from_url(server).map_err(io::Error::other)?;
    let options = OptsBuilder::from_opts(options).db_name(name);
    Conn::new(options.prefer_socket(false)).map_err(io::Error::other)
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
