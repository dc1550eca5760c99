//! The SQL of users.

use foundation::mysql::{DatabaseError, column, time};
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Row, Transaction, Value, params};

use super::{Outcome, Result, record_change, transaction};
use crate::error::Error;
use crate::ids::UserId;
use crate::page::Page;
use crate::text::fold_case;
use crate::token::Role;
use crate::users::cache::{self, DELETED};
use crate::users::mask::Mask;
use crate::users::user::{NewUser, User, UserChange};

const DUPLICATE: u16 = 1062;

/// The SELECT of users, with the columns in the order of `user_from_row`.
macro_rules! select_users {
    ($clauses:literal) => {
        concat!(
            "SELECT id, login, first_name, last_name, role, version, created_at FROM users ",
            $clauses
        )
    };
}

fn user_from_row(mut row: Row) -> Result<User> {
    Ok(User {
        id: UserId(column(&mut row, 0)?),
        login: column(&mut row, 1)?,
        first_name: column(&mut row, 2)?,
        last_name: column(&mut row, 3)?,
        role: parse_role(&column::<String>(&mut row, 4)?),
        version: column(&mut row, 5)?,
        created_at: time(&mut row, 6)?,
    })
}

pub(super) fn parse_role(name: &str) -> Role {
    match name {
        "admin" => Role::Admin,
        _ => Role::User,
    }
}

/// Those of these users that exist. At least one id.
pub fn users(connection: &mut Conn, ids: &[UserId]) -> Result<Vec<User>> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<Row> =
        connection.query(format!(select_users!("WHERE id IN ({})"), ids.join(", ")))?;
    rows.into_iter().map(user_from_row).collect()
}

/// The criteria of a search.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The exact login.
    pub login: Option<String>,
    /// A mask for the first name.
    pub first_name: Option<Mask>,
    /// A mask for the last name.
    pub last_name: Option<Mask>,
}

impl Search {
    /// The index of the longer prefix, which reads fewer rows. By itself, the optimizer may scan the users in the order of ids.
    fn index(&self) -> &'static str {
        let prefix = |mask: &Option<Mask>| mask.as_ref().map_or(0, |mask| mask.prefix_length);
        match (prefix(&self.first_name), prefix(&self.last_name)) {
            _ if self.login.is_some() => "",
            (0, 0) => "",
            (first, last) if first > last => "FORCE INDEX (first_name_lower)",
            _ => "FORCE INDEX (last_name_lower)",
        }
    }

    /// The statement that finds a page of users, and its parameters.
    #[must_use]
    pub fn statement(&self, page: Page) -> (String, Params) {
        let mut sql = format!(select_users!("{} WHERE id > ?"), self.index());
        let mut values: Vec<Value> = vec![page.after.into()];
        if let Some(login) = &self.login {
            // `=` ignores trailing blanks, so the length is compared too.
            sql.push_str(" AND login = ? AND LENGTH(login) = ?");
            values.extend([login.into(), login.len().into()]);
        }
        for (column, mask) in [
            ("first_name_lower", &self.first_name),
            ("last_name_lower", &self.last_name),
        ] {
            if let Some(mask) = mask {
                sql.extend([" AND ", column, " LIKE ? ESCAPE '|'"]);
                values.push((&mask.pattern).into());
            }
        }
        sql.push_str(" ORDER BY id LIMIT ?");
        values.push(page.rows_to_fetch().into());
        (sql, values.into())
    }
}

/// A page of the users that match.
pub fn find(connection: &mut Conn, search: &Search, page: Page) -> Result<Vec<User>> {
    let (sql, values) = search.statement(page);
    let rows: Vec<Row> = connection.exec(sql, values)?;
    rows.into_iter().map(user_from_row).collect()
}

/// Creates a user.
pub fn create_user(connection: &mut Conn, new: &NewUser, hash: &str) -> Outcome<User> {
    let mut transaction = transaction(connection)?;
    let inserted = transaction.exec_drop(
        r"INSERT INTO users (
            login, first_name, last_name, first_name_lower, last_name_lower, role, password_hash, created_at
          )
          VALUES (:login, :first_name, :last_name, :first_name_lower, :last_name_lower, 'user', :hash, NOW(6))",
        params! {
            "login" => &new.login,
            "first_name" => &new.first_name,
            "last_name" => &new.last_name,
            "first_name_lower" => fold_case(&new.first_name),
            "last_name_lower" => fold_case(&new.last_name),
            hash,
        },
    );
    match inserted.map_err(DatabaseError::from) {
        Err(error) if error.code() == Some(DUPLICATE) => {
            return Ok(Err(Error::LoginTaken));
        }
        other => other?,
    }
    let id = transaction.last_insert_id().map(UserId);
    let id = id.ok_or(mysql::DriverError::UnexpectedPacket)?;
    let user = lock_user(&mut transaction, id)?;
    record_change(&mut transaction, Some(id), 1)?;
    transaction.commit()?;
    Ok(user.ok_or(Error::NO_USER))
}

/// A user, whose row stays locked until the transaction ends.
fn lock_user(transaction: &mut Transaction<'_>, id: UserId) -> Result<Option<User>> {
    let row: Option<Row> =
        transaction.exec_first(select_users!("WHERE id = ? FOR UPDATE"), (id,))?;
    row.map(user_from_row).transpose()
}

/// Locks a user, if the request's `If-Match` names its version, or there is none.
fn lock_matching_user(
    transaction: &mut Transaction<'_>,
    id: UserId,
    if_match: Option<&str>,
) -> Outcome<User> {
    let matches = |user: &User| {
        if_match.is_none_or(|tags| cache::matches_strongly(tags, &User::etag(user.version)))
    };
    Ok(match lock_user(transaction, id)? {
        None => Err(Error::NO_USER),
        Some(user) if !matches(&user) => Err(Error::VersionMismatch),
        Some(user) => Ok(user),
    })
}

/// Changes a user; with a new password it ends all sessions.
pub fn change_user(
    connection: &mut Conn,
    id: UserId,
    if_match: Option<&str>,
    change: &UserChange,
    hash: Option<&str>,
) -> Outcome<User> {
    let mut transaction = transaction(connection)?;
    let mut user = match lock_matching_user(&mut transaction, id, if_match)? {
        Ok(user) => user,
        Err(error) => return Ok(Err(error)),
    };
    user.version += 1;
    user.first_name = change.first_name.clone().unwrap_or(user.first_name);
    user.last_name = change.last_name.clone().unwrap_or(user.last_name);
    transaction.exec_drop(
        r"UPDATE users
          SET
            first_name = :first_name,
            last_name = :last_name,
            first_name_lower = :first_name_lower,
            last_name_lower = :last_name_lower,
            version = :version,
            password_hash = COALESCE(:hash, password_hash)
          WHERE id = :id",
        params! {
            "first_name" => &user.first_name,
            "last_name" => &user.last_name,
            "first_name_lower" => fold_case(&user.first_name),
            "last_name_lower" => fold_case(&user.last_name),
            "version" => user.version,
            hash,
            id,
        },
    )?;
    if hash.is_some() {
        transaction.exec_drop("DELETE FROM sessions WHERE user_id = ?", (id,))?;
    }
    record_change(&mut transaction, Some(id), user.version)?;
    transaction.commit()?;
    Ok(Ok(user))
}

/// Deletes a user with all sessions.
pub fn delete_user(connection: &mut Conn, id: UserId, if_match: Option<&str>) -> Outcome<()> {
    let mut transaction = transaction(connection)?;
    match lock_matching_user(&mut transaction, id, if_match)? {
        Ok(user) if user.role == Role::Admin => return Ok(Err(Error::CannotDeleteAdmin)),
        Ok(_) => {}
        Err(error) => return Ok(Err(error)),
    }
    transaction.exec_drop("DELETE FROM users WHERE id = ?", (id,))?;
    record_change(&mut transaction, Some(id), DELETED)?;
    transaction.commit()?;
    Ok(Ok(()))
}
