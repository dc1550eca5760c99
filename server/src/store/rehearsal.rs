//! A trial of all that is written later, at start.

use foundation::mysql::{DatabaseError, Recovery, run_all};
use mysql::Conn;
use mysql::prelude::Queryable;
use uuid::Uuid;

use super::rollback;

/// Writes a message and a counter, reads them back, and rolls back: shows at start what would otherwise fail at the first
/// message, or be changed by a trigger. (Triggers cannot be listed without the right to create them.) It is no fault if the
/// database takes no writes now.
///
/// No other transaction waits for it or sees it: the rows are new, and their keys are random.
///
/// Returns what is wrong with the rows that were read back, if anything.
///
/// # Errors
/// What the database refuses: a right is missing, or its binary log takes no transactions of this isolation level (1665, its
/// format is STATEMENT).
pub(super) fn rehearse(connection: &mut Conn) -> Result<Option<&'static str>, DatabaseError> {
    let came_back = write_and_read(connection);
    rollback(connection)?;
    match came_back {
        Err(error) if error.recovery() != Recovery::TrySingly => Ok(None),
        other => Ok((!other?).then_some(CHANGED)),
    }
}

const CHANGED: &str = "what is written to the tables messages and counters comes back changed, as by a trigger, and \
    schema.sql has none";

/// No user has this name, because names do not begin with a blank.
const USER: &str = " rehearsal ";
/// Contains a character of two bytes and one of four bytes in UTF-8.
const TEXT: &str = "é😀";
const SENT_AT: &str = "'2000-01-01 00:00:00.000001'";

/// Whether the rows that are read back are those that were written.
fn write_and_read(connection: &mut Conn) -> Result<bool, DatabaseError> {
    let id = Uuid::new_v4().simple();
    let user = const_hex::encode(format!("{USER}{id}"));
    let user = format!("_utf8mb4 X'{user}'");
    let text = format!("_utf8mb4 X'{}'", const_hex::encode(TEXT));
    let seq = rand::random::<u64>() | 1 << 63;
    let counter = |messages: u8| {
        format!(
            "INSERT INTO counters (user, messages, last_sent_at)
             VALUES ({user}, {messages}, {SENT_AT})
             ON DUPLICATE KEY UPDATE messages = VALUES(messages), last_sent_at = VALUES(last_sent_at)"
        )
    };
    let (first, second) = (counter(1), counter(2));
    let statements = format!(
        "BEGIN;
         SELECT messages FROM counters WHERE FALSE FOR UPDATE;
         INSERT INTO messages (user, text, request_id, seq, user_seq, sent_at)
         VALUES ({user}, {text}, X'{id}', {seq}, 1, {SENT_AT});
         {first};
         {second};
         UPDATE counters SET repeats = repeats + 1 WHERE user = {user}"
    );
    run_all(connection, &statements)?;
    let unchanged: Option<u8> = connection.query_first(format!(
        "SELECT 1
         FROM messages FORCE INDEX (request_id)
         JOIN counters ON counters.user = messages.user
         WHERE
           request_id = X'{id}' AND messages.user = {user} AND text = {text}
           AND seq = {seq} AND user_seq = 1 AND sent_at = {SENT_AT}
           AND counters.messages = 2 AND repeats = 1 AND last_sent_at = {SENT_AT}"
    ))?;
    Ok(unchanged.is_some())
}
