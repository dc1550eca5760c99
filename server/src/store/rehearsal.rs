//! Whether the database lets us do what we will have to, and does it.

use foundation::mysql::{DatabaseError, Recovery, run_all};
use mysql::Conn;
use mysql::prelude::Queryable;
use uuid::Uuid;

use super::rollback;

/// Writes a message and a counter, reads them back, and undoes it all: what would else fail at the first message, or
/// be changed by a trigger, shows at start. Triggers cannot be looked up without the right to make them. A database
/// that takes no writes now is no fault.
///
/// Nobody waits for it, nor sees it: the rows are new, and their keys are drawn.
///
/// Gives what is wrong with what came back, if anything is.
///
/// # Errors
/// What the database refuses, as for want of a right, or since its binary log takes no transactions that are isolated
/// as ours (1665, its format is STATEMENT).
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

/// A user's name does not begin with a blank, so nobody has this one.
const USER: &str = " rehearsal ";
/// Has a character of two and one of four bytes in UTF-8.
const TEXT: &str = "é😀";
const SENT_AT: &str = "'2000-01-01 00:00:00.000001'";

/// Whether what comes back is what was written.
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
