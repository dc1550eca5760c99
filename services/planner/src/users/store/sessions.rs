//! The SQL of sessions.

use foundation::mysql::{column, time};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Transaction, Value, params};
use uuid::Uuid;

use super::users::parse_role;
use super::{Outcome, Result, transaction};
use crate::error::Error;
use crate::ids::UserId;
use crate::token::{Caller, Role};
use crate::users::refresh_token::{LIFETIME_DAYS, RefreshToken};
use crate::users::wire::Session;

/// The most sessions of one user; another login ends the oldest.
const MAX_SESSIONS: u32 = 100;

/// What a login is checked against.
pub struct Credentials {
    /// The user.
    pub user: UserId,
    /// The user's role.
    pub role: Role,
    /// The hash of the password.
    pub hash: String,
}

/// The credentials of the user with this login.
pub fn credentials(connection: &mut Conn, login: &str) -> Result<Option<Credentials>> {
    let row: Option<(u64, String, String)> = connection.exec_first(
        r"SELECT id, role, password_hash
          FROM users
          WHERE login = ? AND LENGTH(login) = ?",
        // `=` ignores trailing blanks, so the length is compared too.
        (login, login.len()),
    )?;
    Ok(row.map(|(user, name, hash)| Credentials {
        user: UserId(user),
        role: parse_role(&name),
        hash,
    }))
}

/// Begins a session, unless the password has changed since it was checked.
pub fn begin_session(
    connection: &mut Conn,
    credentials: &Credentials,
    token: &RefreshToken,
) -> Outcome<Caller> {
    let mut transaction = transaction(connection)?;
    let unchanged: Option<u8> = transaction.exec_first(
        r"SELECT 1
          FROM users
          WHERE id = ? AND password_hash = ?
          FOR UPDATE",
        (credentials.user, &credentials.hash),
    )?;
    if unchanged.is_none() {
        return Ok(Err(Error::WrongCredentials));
    }
    end_oldest_sessions(&mut transaction, credentials.user)?;
    let id = Uuid::now_v7();
    transaction.exec_drop(
        r"INSERT INTO sessions (id, user_id, family, token_hash, created_at, refreshed_at, expires_at)
          VALUES (:id, :user, :family, :hash, NOW(6), NOW(6), NOW(6) + INTERVAL :days DAY)",
        params! {
            "id" => id.as_bytes(),
            "user" => credentials.user,
            "family" => token.family,
            "hash" => token.hash(),
            "days" => LIFETIME_DAYS,
        },
    )?;
    transaction.commit()?;
    Ok(Ok(Caller {
        user: credentials.user,
        role: credentials.role,
        session: id,
    }))
}

/// Ends the oldest sessions of this user, so that another one may begin.
fn end_oldest_sessions(transaction: &mut Transaction<'_>, user: UserId) -> Result<()> {
    let newest_to_end: Option<Value> = transaction.exec_first(
        r"SELECT created_at
          FROM sessions
          WHERE user_id = ?
          ORDER BY created_at DESC
          LIMIT 1 OFFSET ?",
        (user, MAX_SESSIONS - 1),
    )?;
    let Some(created_at) = newest_to_end else {
        return Ok(());
    };
    Ok(transaction.exec_drop(
        r"DELETE FROM sessions
          WHERE user_id = ? AND created_at <= ?",
        (user, created_at),
    )?)
}

/// Replaces this token by the next one. A token that was used before ends its session. May be retried with the same tokens if the
/// answer was lost.
pub fn refresh(
    connection: &mut Conn,
    token: &RefreshToken,
    next: &RefreshToken,
) -> Outcome<Caller> {
    let mut transaction = transaction(connection)?;
    let session: Option<(Uuid, u64, Vec<u8>)> = transaction.exec_first(
        r"SELECT id, user_id, token_hash
          FROM sessions
          WHERE family = ? AND expires_at > NOW(6)
          FOR UPDATE",
        (token.family,),
    )?;
    let Some((id, user, hash)) = session else {
        return Ok(Err(Error::InvalidRefreshToken));
    };
    if hash != token.hash() && hash != next.hash() {
        transaction.exec_drop("DELETE FROM sessions WHERE id = ?", (id.as_bytes(),))?;
        transaction.commit()?;
        tracing::warn!(%user, "a refresh token was used twice: its session is ended");
        return Ok(Err(Error::InvalidRefreshToken));
    }
    transaction.exec_drop(
        r"UPDATE sessions
          SET token_hash = :hash, refreshed_at = NOW(6), expires_at = NOW(6) + INTERVAL :days DAY
          WHERE id = :id",
        params! { "hash" => next.hash(), "days" => LIFETIME_DAYS, "id" => id.as_bytes() },
    )?;
    let name: Option<String> =
        transaction.exec_first("SELECT role FROM users WHERE id = ?", (user,))?;
    transaction.commit()?;
    Ok(Ok(Caller {
        user: UserId(user),
        role: parse_role(&name.unwrap_or_default()),
        session: id,
    }))
}

/// Whether the session of the caller has not been ended.
pub fn has_session(connection: &mut Conn, caller: &Caller) -> Result<bool> {
    let found: Option<u8> = connection.exec_first(
        r"SELECT 1
          FROM sessions
          WHERE id = ? AND user_id = ?",
        (caller.session.as_bytes(), caller.user),
    )?;
    Ok(found.is_some())
}

/// The sessions of the caller, newest first.
pub fn sessions(connection: &mut Conn, caller: &Caller) -> Result<Vec<Session>> {
    let rows: Vec<Row> = connection.exec(
        r"SELECT id, created_at, refreshed_at, expires_at
          FROM sessions
          WHERE user_id = ? AND expires_at > NOW(6)
          ORDER BY created_at DESC",
        (caller.user,),
    )?;
    let session = |mut row: Row| {
        let id = column(&mut row, 0)?;
        Ok(Session {
            id,
            created_at: time(&mut row, 1)?,
            refreshed_at: time(&mut row, 2)?,
            expires_at: time(&mut row, 3)?,
            current: id == caller.session,
        })
    };
    rows.into_iter().map(session).collect()
}

/// Ends a session of a user.
pub fn end_session(connection: &mut Conn, user: UserId, session: Uuid) -> Outcome<()> {
    connection.exec_drop(
        r"DELETE FROM sessions
          WHERE id = ? AND user_id = ?",
        (session.as_bytes(), user),
    )?;
    let ended = connection.affected_rows() > 0;
    Ok(ended.then_some(()).ok_or(Error::NO_SESSION))
}
