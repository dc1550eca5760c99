//! All SQL of the users' service. Here: the schema, the record of changes, cleanup and initialization.

mod users;
mod sessions;
mod keys;

use foundation::mysql::{DatabaseError, Schema, has_relations};
use mysql::prelude::Queryable;
use mysql::{Conn, Transaction, TxOpts, params};

use crate::error::Error;
use crate::ids::UserId;
use crate::users::cache::Change;
use crate::users::signing_keys::StoredKey;

pub use keys::{keys, rotate_key};
pub use sessions::{
    Credentials, begin_session, credentials, end_session, has_session, refresh, sessions,
};
pub use users::{Search, change_user, create_user, delete_user, find, users};

/// Connections of the pool that requests share.
pub const POOL_CONNECTIONS: u8 = 8;
/// Connections of the reader, and of the change feed: one each, so that requests cannot occupy them.
pub const DEDICATED_CONNECTIONS: u8 = 1;

/// The tables of users.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../../schema-users.sql"),
    is_complete: |connection| {
        let tables = [
            "users",
            "sessions",
            "signing_keys",
            "changes",
            "change_counter",
        ];
        if !has_relations(connection, &tables)? {
            return Ok(false);
        }
        let counter: Option<u8> = connection.query_first("SELECT 1 FROM change_counter")?;
        Ok(counter.is_some())
    },
    fault: |_| Ok(None),
    connections: POOL_CONNECTIONS + 2 * DEDICATED_CONNECTIONS,
    rights: "grant this user SELECT, INSERT, UPDATE and DELETE on the database; to create what is absent also CREATE and \
             REFERENCES, or create it yourself from schema-users.sql",
};

/// If there are more new changes, they are not read; the cache is cleared instead.
const MAX_CHANGES: u64 = 1000;
/// The most rows that one statement deletes.
const MAX_REMOVED: u64 = 1000;

type Result<T> = std::result::Result<T, DatabaseError>;
/// Outer error: the database failed. Inner error: the request is refused.
type Outcome<T> = Result<std::result::Result<T, Error>>;

fn transaction(connection: &mut Conn) -> Result<Transaction<'_>> {
    Ok(connection.start_transaction(TxOpts::default())?)
}

/// Records a change of a user, or of the signing keys if `None`, under the next number. It comes last in its transaction, because
/// it locks the counter, for which all other changes wait.
fn record_change(
    transaction: &mut Transaction<'_>,
    user: Option<UserId>,
    version: u64,
) -> Result<()> {
    transaction.query_drop(
        r"UPDATE change_counter
          SET last = last + 1
          WHERE id = 1",
    )?;
    Ok(transaction.exec_drop(
        r"INSERT INTO changes (seq, user_id, version, changed_at)
          SELECT last, CAST(:user AS UNSIGNED), CAST(:version AS UNSIGNED), NOW(6)
          FROM change_counter
          WHERE id = 1",
        params! { "user" => user, "version" => version },
    )?)
}

/// The number of the last change.
pub fn last_change(connection: &mut Conn) -> Result<u64> {
    let last: Option<u64> = connection.query_first(
        r"SELECT last
          FROM change_counter
          WHERE id = 1",
    )?;
    last.ok_or_else(|| mysql::DriverError::UnexpectedPacket.into())
}

/// The number of the last change, and the changes after number `seen`; `None` if they are too many, or some have been removed
/// already.
pub fn changes(connection: &mut Conn, seen: u64) -> Result<(u64, Option<Vec<Change>>)> {
    let last = last_change(connection)?;
    // A number below `seen` means that the database was restored from a backup.
    match last.checked_sub(seen) {
        Some(0) => return Ok((last, Some(Vec::new()))),
        Some(1..=MAX_CHANGES) => {}
        _ => return Ok((last, None)),
    }
    let rows: Vec<(Option<u64>, u64)> = connection.exec(
        r"SELECT user_id, version
          FROM changes
          WHERE seq > :seen AND seq <= :last
          ORDER BY seq",
        params! { seen, last },
    )?;
    let are_all = rows.len() as u64 == last - seen;
    let changes = rows.into_iter().map(|(user, version)| Change {
        user: user.map(UserId),
        version,
    });
    Ok((last, are_all.then(|| changes.collect())))
}

/// Removes some of the old changes and expired sessions: so few that the next poll on this connection is not delayed for long.
/// Returns whether there may be more.
pub fn remove_expired(connection: &mut Conn) -> Result<bool> {
    let mut removed = Vec::new();
    // Changes are kept for only an hour. Expired sessions are found by an index, because a scan would read, and lock, all.
    for delete in [
        r"DELETE FROM changes
          WHERE changed_at < NOW(6) - INTERVAL 1 HOUR
          ORDER BY seq",
        r"DELETE FROM sessions
          WHERE expires_at < NOW(6)
          ORDER BY expires_at",
    ] {
        connection.query_drop(format!("{delete} LIMIT {MAX_REMOVED}"))?;
        removed.push(connection.affected_rows());
    }
    Ok(removed.contains(&MAX_REMOVED))
}

/// At the first start, creates the admin, with the password hash from `hash`, and a signing key. Processes that start at the same
/// time wait for each other.
pub fn initialize(
    connection: &mut Conn,
    hash: impl FnOnce() -> String,
    key: impl FnOnce() -> StoredKey,
) -> Result<()> {
    let mut transaction = transaction(connection)?;
    transaction.query_drop(
        r"SELECT last
          FROM change_counter
          WHERE id = 1
          FOR UPDATE",
    )?;
    let users: Option<u8> = transaction.query_first("SELECT 1 FROM users LIMIT 1")?;
    if users.is_none() {
        transaction.exec_drop(
            r"INSERT INTO users (
                login, first_name, last_name, first_name_lower, last_name_lower, role, password_hash, created_at
              )
              VALUES ('admin', 'Admin', 'Admin', 'admin', 'admin', 'admin', ?, NOW(6))",
            (hash(),),
        )?;
    }
    let keys: Option<u8> = transaction.query_first("SELECT 1 FROM signing_keys LIMIT 1")?;
    if keys.is_none() {
        keys::insert_key(&mut transaction, &key(), 0)?;
    }
    Ok(transaction.commit()?)
}
