//! Whether the database lets us do what we will have to.

use mysql::Conn;
use mysql::prelude::Queryable;

/// Each needs the rights of a statement of ours, and neither finds, writes nor locks a row.
const ALL_THAT_IS_NEEDED: [&str; 3] = [
    "SELECT messages FROM counters WHERE FALSE FOR UPDATE",
    "INSERT INTO counters (user, messages, last_sent_at)
     SELECT user, messages, last_sent_at FROM counters WHERE FALSE
     ON DUPLICATE KEY UPDATE messages = VALUES(messages)",
    "INSERT INTO messages (seq, user, user_seq, text, sent_at, request_id)
     SELECT seq, user, user_seq, text, sent_at, request_id FROM messages WHERE FALSE",
];

/// A right is missing: access to the database denied, statement denied on a table, on a column, for want of a
/// privilege.
pub(super) const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

/// The binary log takes no transactions that are isolated as ours must be: its format is STATEMENT.
const UNLOGGABLE: u16 = 1665;

/// Finds out at start what would else fail at the first message. A database that takes no writes now is no fault.
///
/// # Errors
/// What the database says of the first right that is missing.
pub(super) fn check(connection: &mut Conn) -> Result<(), mysql::Error> {
    ALL_THAT_IS_NEEDED
        .iter()
        .try_for_each(|statement| match connection.query_drop(statement) {
            Err(mysql::Error::MySqlError(error))
                if !DENIED.contains(&error.code) && error.code != UNLOGGABLE =>
            {
                Ok(())
            }
            result => result,
        })
}
