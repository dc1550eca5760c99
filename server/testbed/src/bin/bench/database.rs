//! The database server to measure on; creates and fills databases on it.

use std::error::Error;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use testbed::{Database, Meter, interruption};

/// Rows per INSERT: large enough to be fast, small enough for the redo log of a server with default settings.
const ROWS_PER_INSERT: u64 = 100_000;
/// The maximum length of a database name, in characters.
const MAX_NAME_LENGTH: usize = 64;

/// The database server.
pub(crate) struct DatabaseServer {
    url: String,
    name: String,
    /// Its version, as it reports it.
    pub(crate) version: String,
    pub(crate) meter: Meter,
}

impl DatabaseServer {
    pub(crate) fn connect(url: &str, process: Option<u32>) -> Result<Self, Box<dyn Error>> {
        let options = Opts::from_url(url).map_err(|error| {
            format!("DATABASE_URL is not of the form mysql://user:password@host:3306/name: {error}")
        })?;
        let name = options.get_db_name().filter(|name| !name.is_empty());
        let name = name
            .ok_or("DATABASE_URL names no database; add one, as in …:3306/dummy_messenger")?
            .to_owned();
        let options = OptsBuilder::from_opts(options)
            .db_name(None::<String>)
            .prefer_socket(false);
        let mut connection = Conn::new(options).map_err(|error| {
            format!("cannot connect to DATABASE_URL: {error}; is it running, are address, user and password right?")
        })?;
        let version: Option<String> = connection.query_first("SELECT VERSION()")?;
        let version = version.unwrap_or_default();
        let version = if version.contains("MariaDB") {
            version
        } else {
            format!("MySQL {version}")
        };
        Ok(Self {
            url: url.to_owned(),
            name,
            version,
            meter: Meter::on(connection, process)?,
        })
    }

    /// Creates an empty database with a unique name that ends with `suffix`.
    pub(crate) fn create(&mut self, suffix: &str) -> Result<Database, Box<dyn Error>> {
        let suffix = format!("_bench_{}_{suffix}", std::process::id());
        let kept = MAX_NAME_LENGTH.saturating_sub(suffix.len());
        let name: String = self.name.chars().take(kept).collect::<String>() + &suffix;
        Ok(Database::create(&self.url, name).map_err(|error| {
            format!(
                "cannot create a database: {error}; let the user of DATABASE_URL create databases"
            )
        })?)
    }
}

/// Inserts messages as if `users` had sent them in turns, with all promises kept. The tables must exist and be empty.
pub(crate) fn fill(database: &Database, rows: u64, users: u32) -> Result<(), Box<dyn Error>> {
    if rows == 0 {
        return Ok(());
    }
    let mut connection = database.try_connect()?;
    let mut first = 1;
    while first <= rows {
        interruption::check()?;
        let last = rows.min(first + ROWS_PER_INSERT - 1);
        connection.query_drop(insert(first, last, users))?;
        first = last + 1;
    }
    connection.query_drop(
        "INSERT INTO counters (user, messages, last_sent_at)
         SELECT user, COUNT(*), MAX(sent_at) FROM messages GROUP BY user",
    )?;
    connection.query_drop(
        "REPLACE INTO counters (user, messages, last_sent_at)
         SELECT '', COUNT(*), MAX(sent_at) FROM messages",
    )?;
    Ok(())
}

/// The number of rows in `ordering_violations`, the view of broken promises.
pub(crate) fn violations(database: &Database) -> Result<u64, mysql::Error> {
    let count = "SELECT COUNT(*) FROM ordering_violations";
    Ok(database
        .try_connect()?
        .query_first(count)?
        .unwrap_or_default())
}

/// An INSERT of messages. Numbers come from a cross join of digits, which both databases support without any setting. User names
/// are those of the client. Request ids ascend, as those that the server generates.
fn insert(first: u64, last: u64, users: u32) -> String {
    let digits = "(SELECT 0 AS digit UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                   UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    format!(
        "INSERT INTO messages (id, seq, user, user_seq, text, sent_at, request_id)
         SELECT
           seq,
           seq,
           COALESCE(
             ELT(
               1 + (seq - 1) % {users},
               'alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy'
             ),
             CONCAT('user', 1 + (seq - 1) % {users})
           ),
           1 + (seq - 1) DIV {users},
           CONCAT('a text of thirty letters ', seq),
           TIMESTAMPADD(MICROSECOND, seq, TIMESTAMP'2020-01-01 00:00:00.000000'),
           UNHEX(CONCAT('016F5E66E80070008000', LPAD(HEX(seq), 12, '0')))
         FROM (
           SELECT {first} + a.digit + 10 * b.digit + 100 * c.digit + 1000 * d.digit + 10000 * e.digit AS seq
           FROM {digits} AS a, {digits} AS b, {digits} AS c, {digits} AS d, {digits} AS e
         ) AS numbers
         WHERE seq <= {last}
         ORDER BY seq"
    )
}
