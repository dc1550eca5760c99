//! A database of one's own, on a server that others use as well.

use std::env;

use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Opts, OptsBuilder};
use url::Url;
use uuid::Uuid;

use super::eventually;
use crate::{DatabaseProcess, HostStatus, Proxy};

/// A text with bytes that its character set does not have.
const CANNOT_CONVERT: u16 = 3854;

/// An empty database, dropped at the end.
#[derive(Debug)]
pub struct Database {
    name: String,
    /// The URL of the server.
    server: String,
    at_end: AtEnd,
}

#[derive(Debug, PartialEq, Eq)]
enum AtEnd {
    Dropped,
    /// It goes away together with its server.
    Kept,
}

impl Database {
    /// Makes one for a test, on the server at `DATABASE_URL`.
    #[expect(
        clippy::new_without_default,
        reason = "it does more than to set values"
    )]
    pub fn new() -> Self {
        let server = env::var("DATABASE_URL").expect(
            "DATABASE_URL must name a MySQL or MariaDB server, like mysql://user:password@host/any; `./run.sh test` starts one",
        );
        let name = format!("dm_test_{}", Uuid::new_v4().simple());
        Self::create(&server, name).expect("the user of DATABASE_URL may create databases")
    }

    /// Makes one of this name on the server at this URL.
    ///
    /// # Errors
    /// If the user may not.
    pub fn create(server: &str, name: String) -> Result<Self, mysql::Error> {
        let name_in_sql = quoted(&name);
        connect(server, None)?.query_drop(format!(
            "CREATE DATABASE {name_in_sql} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        ))?;
        Ok(Self {
            name,
            server: server.to_owned(),
            at_end: AtEnd::Dropped,
        })
    }

    /// The one of a server that this program has for itself.
    pub fn of(server: &DatabaseProcess) -> Self {
        Self {
            name: DatabaseProcess::NAME.to_owned(),
            server: server.url(),
            at_end: AtEnd::Kept,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for a replica. It has a query, if only an empty one.
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

    /// A way to it that can be cut.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(&self.url()).expect("DATABASE_URL is a mysql:// URL, and a port is free")
    }

    /// A host with it, which is like this.
    pub fn host(&self, status: HostStatus) -> Proxy {
        let host = self.proxy();
        host.set(status);
        host
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> Conn {
        self.try_connect().expect("the database is up")
    }

    /// A connection to it.
    pub fn try_connect(&self) -> Result<Conn, mysql::Error> {
        connect(&self.server, Some(&self.name))
    }

    /// What a query gives.
    pub fn rows<T: FromRow>(&self, query: &str) -> Vec<T> {
        loop {
            match self.connect().query(query) {
                // In MySQL's list of processes, as long as a statement of another test has such bytes.
                Err(mysql::Error::MySqlError(error)) if error.code == CANNOT_CONVERT => {}
                rows => return rows.expect("the query is right"),
            }
        }
    }

    /// Fails with what the view `ordering_violations` shows, if it shows anything.
    pub fn assert_in_order(&self) {
        let violations: Vec<(String, String)> =
            self.rows("SELECT violation, detail FROM ordering_violations");
        assert_eq!(violations, [], "ordering_violations");
    }

    /// How many messages it has.
    pub fn count(&self) -> u64 {
        self.rows("SELECT COUNT(*) FROM messages")[0]
    }

    /// Takes the lock that every writer needs; it is held until the connection ends its transaction.
    pub fn hold_the_lock(&self) -> Conn {
        let mut holder = self.connect();
        holder.query_drop("BEGIN").expect("the connection is up");
        holder
            .query_drop("SELECT messages FROM counters WHERE user = '' FOR UPDATE")
            .expect("the lock is free");
        // The database answers a statement a little before it stops showing it: so the last one shown is another.
        holder.query_drop("DO 0").expect("the connection is up");
        holder
    }

    /// Waits until somebody holds the lock that every writer needs.
    pub fn wait_until_the_lock_is_held(&self) {
        let unless_held = "SELECT messages FROM counters WHERE user = '' FOR UPDATE SKIP LOCKED";
        eventually("somebody holds the lock", || {
            self.rows::<u64>(unless_held).is_empty()
        });
    }

    /// Waits until a replica waits for the lock on another connection than `known`, and gives that connection.
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

    /// The connections on which a statement asks for the lock.
    pub fn waiting_writers(&self) -> Vec<u64> {
        self.rows(&format!(
            "SELECT id FROM information_schema.processlist
             WHERE db = '{}' AND info LIKE '%FOR UPDATE%' AND info NOT LIKE '%processlist%'",
            self.name
        ))
    }
}

impl Drop for Database {
    #[expect(clippy::print_stderr, reason = "what is left behind must be said")]
    fn drop(&mut self) {
        if self.at_end == AtEnd::Kept {
            return;
        }
        let name_in_sql = quoted(&self.name);
        let dropped = connect(&self.server, None)
            .and_then(|mut server| server.query_drop(format!("DROP DATABASE {name_in_sql}")));
        if let Err(error) = dropped {
            eprintln!("drop the database {} yourself: {error}", self.name);
        }
    }
}

fn connect(server: &str, name: Option<&str>) -> Result<Conn, mysql::Error> {
    let options = OptsBuilder::from_opts(Opts::from_url(server)?);
    Conn::new(options.db_name(name).prefer_socket(false))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
