//! Checks whether a server takes writes: its own state, and that of its replication group, if it is a member of one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::error::{DENIED, DatabaseError};
use super::results::next_set;

/// Why a host is not the one to write to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// There is no connection, or it failed.
    #[error("{0}")]
    Failed(DatabaseError),
    /// It was asked earlier, and has not answered yet.
    #[error("it does not answer")]
    Silent,
    /// It is a secondary, an expelled member, or read-only by an operator's decision.
    #[error("it is read-only")]
    ReadOnly,
    /// It has not joined yet, or was expelled: the group does not have what it stores.
    #[error("it is {0} in its replication group")]
    OutsideItsGroup(String),
    /// COMMIT would wait for the majority, and its data may be old.
    #[error("it reaches {reached} of {members} members of its replication group: no majority")]
    Minority {
        /// Online or recovering.
        reached: u64,
        /// All members, including those that it cannot reach.
        members: u64,
    },
    /// Its group has several primaries, and row locks are local to a member.
    #[error(
        "its replication group is in multi-primary mode; the order of messages needs single-primary mode"
    )]
    SeveralPrimaries,
    /// It may be a member of a group, but the user may not read that.
    #[error(
        "the standing in its replication group cannot be read; GRANT SELECT ON \
         performance_schema.replication_group_members"
    )]
    Unknown,
}

impl<E: Into<DatabaseError>> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Unfit {
    /// The state of a host in general terms, for clients.
    pub(super) fn in_general(&self) -> &'static str {
        match self {
            Self::Failed(error) if error.code().is_some() => "refusing connections",
            Self::Failed(_) | Self::Silent => "not answering",
            Self::ReadOnly => "read-only",
            Self::OutsideItsGroup(_) => "outside its group",
            Self::Minority { .. } => "without a majority of its group",
            Self::SeveralPrimaries | Self::Unknown => "not configured for it",
        }
    }
}

/// Why there is no connection: what is wrong with each of the hosts.
#[derive(Debug, Clone)]
pub(super) struct NoPrimary(pub(super) Arc<[(String, Unfit)]>);

impl NoPrimary {
    /// How many hosts are in which state, for clients: without names, as in `2 read-only, 1 not answering`.
    pub(super) fn in_general(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, unfit) in self.0.iter() {
            *counts.entry(unfit.in_general()).or_default() += 1;
        }
        let counts = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

impl std::error::Error for NoPrimary {}

/// There is no connection, as after one was lost.
impl From<NoPrimary> for mysql::Error {
    fn from(no_primary: NoPrimary) -> Self {
        Self::IoError(io::Error::other(no_primary))
    }
}

impl fmt::Display for NoPrimary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(_, unfit)] = &*self.0 {
            return unfit.fmt(to);
        }
        to.write_str("no database host takes writes: ")?;
        for (index, (name, unfit)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(to, "{separator}{name}: {unfit}")?;
        }
        Ok(())
    }
}

/// Checks that the server takes writes, and is the only one that does. One round trip; takes no lock.
pub(super) fn check(connection: &mut Conn) -> Result<(), Unfit> {
    let mut results = connection.query_iter(QUESTION)?;
    let read_only = next_set::<String>(&mut results)?;
    if read_only.iter().any(|value| value != "0" && value != "OFF") {
        return Err(Unfit::ReadOnly);
    }
    let memberships = next_set(&mut results);
    drop(results);
    match memberships {
        Ok(memberships) => memberships.into_iter().try_for_each(check_membership),
        Err(error) => without_the_table(connection, error),
    }
}

/// The second statement fails if there are no groups, or without the right to read about them; the first has its result then.
const QUESTION: &str = "
    SELECT CAST(@@GLOBAL.read_only AS CHAR);
    SELECT
      COALESCE(MAX(CASE WHEN member_id = @@server_uuid THEN member_state END), 'OFFLINE'),
      COALESCE(MAX(CASE WHEN member_id = @@server_uuid THEN member_role END), ''),
      CAST(SUM(member_role = 'PRIMARY') AS UNSIGNED),
      CAST(SUM(member_state IN ('ONLINE', 'RECOVERING')) AS UNSIGNED),
      COUNT(*)
    FROM performance_schema.replication_group_members
    HAVING COUNT(*) > 0";

/// Checks by this row of the second statement that the server is the only primary of its group, which has a majority.
fn check_membership(
    (state, role, primaries, reached, members): (String, String, u64, u64, u64),
) -> Result<(), Unfit> {
    if state != "ONLINE" {
        return Err(Unfit::OutsideItsGroup(state));
    }
    if 2 * reached <= members {
        return Err(Unfit::Minority { reached, members });
    }
    if primaries > 1 {
        return Err(Unfit::SeveralPrimaries);
    }
    if role != "PRIMARY" {
        return Err(Unfit::ReadOnly);
    }
    Ok(())
}

/// MariaDB has no such table. MySQL always has it, and has groups only with a plugin, which shows by its variables; to read them
/// needs no right.
fn without_the_table(connection: &mut Conn, error: DatabaseError) -> Result<(), Unfit> {
    match error.code() {
        Some(NO_DATABASE | NO_TABLE | NO_VARIABLE) => {}
        Some(code) if DENIED.contains(&code) => {}
        _ => return Err(error.into()),
    }
    match consistency(connection)? {
        None => Ok(()),
        Some(_) => Err(Unfit::Unknown),
    }
}

const NO_DATABASE: u16 = 1049;
const NO_TABLE: u16 = 1146;
const NO_VARIABLE: u16 = 1193;

/// Makes a new primary delay statements of this session until it has applied the backlog of the old one. The default since MySQL
/// 8.4; needs no right.
///
/// Writers would be safe without: what they miss in the backlog conflicts with what they write, because all write the row of the
/// lock, and the group refuses their COMMIT. Readers would see old data.
pub(super) fn wait_for_backlog(connection: &mut Conn) -> Result<(), DatabaseError> {
    if consistency(connection)?.as_deref() == Some("EVENTUAL") {
        connection.query_drop(
            "SET SESSION group_replication_consistency = 'BEFORE_ON_PRIMARY_FAILOVER'",
        )?;
    }
    Ok(())
}

/// `None` without the plugin for groups.
fn consistency(connection: &mut Conn) -> Result<Option<String>, DatabaseError> {
    let asked = connection.query_first("SELECT @@SESSION.group_replication_consistency");
    match asked.map_err(DatabaseError::from) {
        Err(error) if error.code() == Some(NO_VARIABLE) => Ok(None),
        other => other,
    }
}
