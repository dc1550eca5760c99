//! The text of the statements. Nothing is escaped: what clients sent is written in hexadecimal.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::message::{NewMessage, PREDECESSORS, Submission, TEXT_LIMIT, USER_LIMIT};
use crate::numbering::{LockedState, Numbered};

const NO_FAILURE: &str = "a String takes all that is written to it";

/// The beginning of a message's row in the INSERT, with user, text and request id: rendered before the lock is held, so that
/// other writers do not wait for it.
#[must_use]
pub fn row_head(submission: &Submission) -> String {
    let mut head = String::with_capacity(2 * submission.message.weight() + 96);
    head.push('(');
    push_text(&mut head, submission.message.user());
    head.push(',');
    push_text(&mut head, submission.message.text());
    head.push(',');
    push_bytes(&mut head, submission.request_id.uuid().as_bytes());
    head.push(',');
    head
}

/// Bytes of a batch's statements besides its messages.
pub const FRAME: usize = 1024;
/// Bytes of a message besides user and text: literals for id, numbers and dates, in its own row and in its user's counter.
const ROW: usize = 256;

/// The packet that the database must take, so that the largest message fits; a multiple of 1,024, like the variable. The users of
/// the previous batch fit as well: they stand in the statement that has no text.
pub const MIN_PACKET: usize =
    (FRAME + ROW + 4 * (4 * USER_LIMIT) + 2 * (4 * TEXT_LIMIT)).next_multiple_of(1024);

/// The most bytes that a message adds to a statement. Hexadecimal takes two for one, and the user stands in two rows.
#[must_use]
pub fn max_bytes(message: &NewMessage) -> usize {
    ROW + 4 * message.user().len() + 2 * message.text().len()
}

/// How long the text of a message that is too large may be, in bytes, so that it fits into a statement.
#[must_use]
pub fn max_text_bytes(too_large: &NewMessage, max_packet: usize) -> usize {
    let beside = FRAME + ROW + 4 * too_large.user().len();
    // A proxy may take less than the database.
    (max_packet.saturating_sub(beside) / 2).min(too_large.text().len() - 1)
}

/// The transaction's first part: takes the lock, and reads all that is needed.
pub(super) fn lock_and_read(users: &[&str], look_up: &[Uuid]) -> String {
    let mut sql = String::with_capacity(1024);
    // SYSDATE is the time at which a row is read, here after the wait for the lock; all other functions give the time at which
    // the statement began.
    // Always by the key: a scan of a small table would wait for every row that any transaction has locked.
    sql.push_str(
        "BEGIN;SELECT user, messages, last_sent_at, SYSDATE(6) FROM counters FORCE INDEX (PRIMARY) WHERE user IN (''",
    );
    for user in users {
        sql.push(',');
        push_text(&mut sql, user);
    }
    // The empty name sorts first, so its row is locked first, and nobody else holds the others then.
    sql.push_str(") ORDER BY user FOR UPDATE;");
    sql.push_str(&page(None, PREDECESSORS as u64));
    if !look_up.is_empty() {
        write!(sql, ";SELECT request_id, {COLUMNS} FROM messages FORCE INDEX (request_id) WHERE request_id IN (").expect(NO_FAILURE);
        for id in look_up {
            push_bytes(&mut sql, id.as_bytes());
            sql.push(',');
        }
        sql.pop();
        sql.push(')');
    }
    sql
}

/// The rest of the transaction. It writes something even if no message is new, so that COMMIT flushes the log up to the messages
/// that were found.
pub(super) fn insert_and_commit(
    heads: &[String],
    numbered: &Numbered<'_>,
    state: &LockedState,
) -> String {
    let length: usize = heads.iter().map(|head| head.len() + 80).sum();
    let mut sql = String::with_capacity(length + 96 * numbered.counts.len() + 512);
    if let Some(first) = numbered.new.first() {
        let sent_at = literal(first.sent_at);
        sql.push_str(
            "INSERT INTO messages (user, text, request_id, seq, user_seq, sent_at) VALUES ",
        );
        for (message, &origin) in numbered.new.iter().zip(&numbered.origin) {
            sql.push_str(&heads[origin]);
            write!(sql, "{},{},{sent_at}),", message.seq, message.user_seq).expect(NO_FAILURE);
        }
        sql.pop();
        let total = numbered.total(state);
        write!(
            sql,
            ";INSERT INTO counters (user, messages, last_sent_at) VALUES ('',{total},{sent_at})"
        )
        .expect(NO_FAILURE);
        for (user, count) in &numbered.counts {
            sql.push_str(",(");
            push_text(&mut sql, user);
            write!(sql, ",{count},{sent_at})").expect(NO_FAILURE);
        }
        // MySQL recommends a row alias here, which MariaDB does not know.
        sql.push_str(
            " ON DUPLICATE KEY UPDATE messages = VALUES(messages), last_sent_at = VALUES(last_sent_at);",
        );
    }
    if numbered.repeats() > 0 {
        write!(
            sql,
            "UPDATE counters SET repeats = repeats + {} WHERE user = '';",
            numbered.repeats()
        )
        .expect(NO_FAILURE);
    }
    sql.push_str("COMMIT");
    sql
}

/// The last `limit` messages below `before`, newest first.
pub(super) fn page(before: Option<u64>, limit: u64) -> String {
    let below = before.map_or_else(String::new, |before| format!(" WHERE seq < {before}"));
    // The index is named: while the statistics of a new table lag behind, the optimizer would scan it.
    format!(
        "SELECT {COLUMNS} FROM messages FORCE INDEX (seq){below} ORDER BY seq DESC LIMIT {limit}"
    )
}

/// Of a message.
const COLUMNS: &str = "seq, user, user_seq, text, sent_at";

fn literal(time: DateTime<Utc>) -> String {
    time.format("'%Y-%m-%d %H:%M:%S%.6f'").to_string()
}

fn push_text(sql: &mut String, text: &str) {
    sql.push_str("_utf8mb4 ");
    push_bytes(sql, text.as_bytes());
}

fn push_bytes(sql: &mut String, bytes: &[u8]) {
    sql.push_str("X'");
    sql.push_str(&const_hex::encode(bytes));
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::RequestId;
    use crate::numbering::number;

    fn state() -> LockedState {
        LockedState {
            total: u64::MAX / 2,
            of_user: [].into(),
            last_sent_at: DateTime::UNIX_EPOCH,
            tail: Vec::new(),
            found: [].into(),
            now: Utc::now(),
        }
    }

    proptest! {
        #[test]
        fn no_statement_is_larger_than_the_estimate_for_its_messages(
            lengths in prop_oneof![
                prop::collection::vec((1..=2_usize, 1..=4_usize), 1..60),
                prop::collection::vec((1..=USER_LIMIT, 1..=TEXT_LIMIT), 1..20),
            ],
        ) {
            // All users are different, and each character takes four bytes.
            let submissions: Vec<Submission> = (0_u32..)
                .zip(&lengths)
                .map(|(index, &(user, text))| {
                    let emoji = char::from_u32(0x1_F300 + index).expect("an emoji");
                    let user = String::from(emoji).repeat(user);
                    Submission {
                        message: NewMessage::new(user, "🌍".repeat(text)).expect("within the limits"),
                        request_id: RequestId::draw(),
                    }
                })
                .collect();
            let estimate: usize = FRAME + submissions.iter().map(|submission| max_bytes(&submission.message)).sum::<usize>();
            let state = state();
            let heads: Vec<String> = submissions.iter().map(row_head).collect();
            let numbered = number(&submissions, &state);
            prop_assert!(insert_and_commit(&heads, &numbered, &state).len() <= estimate);
            let users: Vec<&str> = submissions.iter().map(|submission| submission.message.user()).collect();
            let ids: Vec<Uuid> = submissions.iter().map(|submission| submission.request_id.uuid()).collect();
            prop_assert!(lock_and_read(&users, &ids).len() <= estimate);
        }
    }
}
