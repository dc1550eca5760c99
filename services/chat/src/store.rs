//! All SQL, except for the readiness checks. Values are parameters, except for numbers and ids.

mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::SecondsFormat;
use foundation::mysql::{DatabaseError, Schema, column, has_relations, time, transaction};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::message::{Frame, Kind, MessageFrame, NewMessage, RoomId, RoomName};
use crate::question::Question;

pub use turns::{CallState, call_state, enqueue_proof};

/// Connections of a process, in addition to those of its queues.
pub const CONNECTIONS: u8 = 12;

/// The tables.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../schema.sql"),
    is_complete: |connection| has_relations(connection, &["rooms", "messages", "proofs", "jobs"]),
    fault: |_| Ok(None),
    connections: CONNECTIONS + 2,
    rights: "grant this user SELECT, INSERT, UPDATE and DELETE on the tables of schema.sql, and CREATE on the database",
};

/// The room of this name, which is created if it does not exist, and the number of its last message.
///
/// # Errors
/// As the database says.
pub fn find_or_create_room(
    connection: &mut Conn,
    name: &RoomName,
) -> Result<(RoomId, u64), DatabaseError> {
    let select = "SELECT id, last_seq
         FROM rooms
         WHERE name = ?";
    let name = name.as_str().as_bytes();
    let mut found: Option<(u32, u64)> = connection.exec_first(select, (name,))?;
    if found.is_none() {
        // Another process may insert it at the same time.
        connection.exec_drop("INSERT IGNORE INTO rooms (name) VALUES (?)", (name,))?;
        found = connection.exec_first(select, (name,))?;
    }
    let (id, last_seq) = found.ok_or(mysql::DriverError::UnexpectedPacket)?;
    Ok((RoomId(id), last_seq))
}

/// The numbers of the last messages of these rooms.
///
/// # Errors
/// As the database says.
pub fn last_seqs(
    connection: &mut Conn,
    rooms: impl IntoIterator<Item = RoomId>,
) -> Result<Vec<(RoomId, u64)>, DatabaseError> {
    let rooms: Vec<_> = rooms.into_iter().map(|room| room.0.to_string()).collect();
    let rows: Vec<(u32, u64)> = connection.query(format!(
        "SELECT id, last_seq
         FROM rooms
         WHERE id IN ({})",
        rooms.join(", ")
    ))?;
    Ok(rows
        .into_iter()
        .map(|(id, seq)| (RoomId(id), seq))
        .collect())
}

/// The frames of up to `max_messages` messages of a room that follow `after`, in order. Ends early with the frame that reaches
/// `max_bytes`. `name` is the name of the room.
///
/// # Errors
/// As the database says.
pub fn read_frames(
    connection: &mut Conn,
    room: RoomId,
    name: &RoomName,
    after: u64,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<Frame>, DatabaseError> {
    let rows: Vec<Row> = connection.exec(
        "SELECT seq, id, kind, username, text, proof, sent_at
         FROM messages
         WHERE room_id = ? AND seq > ?
         ORDER BY seq
         LIMIT ?",
        (room.0, after, max_messages),
    )?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut bytes = 0;
    for mut row in rows {
        if bytes >= max_bytes {
            break;
        }
        let proof: Option<String> = column(&mut row, 5)?;
        let message = MessageFrame {
            seq: column(&mut row, 0)?,
            id: column(&mut row, 1)?,
            kind: column(&mut row, 2)?,
            username: column(&mut row, 3)?,
            message: column(&mut row, 4)?,
            proof: proof.and_then(|json| RawValue::from_string(json).ok()),
            sent_at: time(&mut row, 6)?.to_rfc3339_opts(SecondsFormat::Micros, true),
            group_name: name.as_str(),
        };
        let frame = serde_json::to_string(&message).expect("it has no maps");
        bytes += frame.len();
        frames.push((message.seq, frame.into()));
    }
    Ok(frames)
}

/// The outcome for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored with this number.
    Stored(u64),
    /// It was stored before.
    AlreadyStored,
    /// Another message has its id.
    IdTaken,
}

/// Stores messages and enqueues their questions, in one transaction.
///
/// # Errors
/// As the database says. If the messages were committed all the same, a retry gives [`Appended::AlreadyStored`].
pub fn store(
    connection: &mut Conn,
    messages: &[NewMessage],
) -> Result<Vec<Appended>, DatabaseError> {
    transaction(connection, |transaction| {
        let rooms = messages.iter().map(|message| message.room);
        let mut rooms = LockedRooms::lock(transaction, rooms)?;
        let appended = rooms.append(transaction, messages)?;
        for (message, appended) in messages.iter().zip(&appended) {
            if let (Kind::Message, Appended::Stored(seq)) = (message.kind, appended) {
                rooms.enqueue_question(transaction, Question::from_message(message, *seq))?;
            }
        }
        Ok(appended)
    })
}

/// Rooms whose rows are locked until the transaction ends, with the numbers of their last messages.
pub struct LockedRooms {
    last_seqs: BTreeMap<RoomId, u64>,
}

impl LockedRooms {
    /// Locks rooms in the order of their ids, as all transactions do, so that there are no deadlocks.
    ///
    /// # Errors
    /// As the database says.
    pub fn lock(
        transaction: &mut Conn,
        rooms: impl IntoIterator<Item = RoomId>,
    ) -> Result<Self, DatabaseError> {
        let rooms: BTreeSet<_> = rooms.into_iter().collect();
        let mut last_seqs = BTreeMap::new();
        for room in rooms {
            // One by one, because the database would choose the order of a list.
            let last_seq: Option<u64> = transaction.exec_first(
                "SELECT last_seq
                 FROM rooms
                 WHERE id = ?
                 FOR UPDATE",
                (room.0,),
            )?;
            last_seqs.insert(room, last_seq.ok_or(mysql::DriverError::UnexpectedPacket)?);
        }
        Ok(Self { last_seqs })
    }

    /// Inserts the messages that are not stored yet.
    ///
    /// # Errors
    /// As the database says.
    ///
    /// # Panics
    /// If the room of a message is not locked.
    pub fn append(
        &mut self,
        transaction: &mut Conn,
        messages: &[NewMessage],
    ) -> Result<Vec<Appended>, DatabaseError> {
        let mut stored = find_stored(transaction, messages)?;
        let mut rows = Vec::new();
        let mut changed = BTreeSet::new();
        let mut appended = Vec::with_capacity(messages.len());
        for message in messages {
            let key = (message.room, message.id, message.kind.name().to_owned());
            let content = (message.username.clone(), message.text.clone());
            appended.push(match stored.get(&key) {
                // An answer or a proof that was made again counts as the same, though it may differ, as in its nonce.
                Some(before) if message.kind != Kind::Message || *before == content => {
                    Appended::AlreadyStored
                }
                Some(_other) => Appended::IdTaken,
                None => {
                    let last_seq = self.last_seqs.get_mut(&message.room);
                    let last_seq =
                        last_seq.expect("the caller has locked the rooms of all messages");
                    *last_seq += 1;
                    changed.insert(message.room);
                    stored.insert(key, content);
                    rows.push((*last_seq, message));
                    Appended::Stored(*last_seq)
                }
            });
        }
        insert(transaction, &rows)?;
        for room in changed {
            transaction.exec_drop(
                "UPDATE rooms
                 SET last_seq = ?
                 WHERE id = ?",
                (self.last_seqs[&room], room.0),
            )?;
        }
        Ok(appended)
    }

    fn locked_id(&self, question: &Question) -> u32 {
        assert!(
            self.last_seqs.contains_key(&question.room),
            "the caller has locked its room"
        );
        question.room.0
    }
}

/// Username and text, by room, id and kind.
type StoredMessages = HashMap<(RoomId, Uuid, String), (String, String)>;

/// Finds the messages that are stored already.
fn find_stored(
    transaction: &mut Conn,
    messages: &[NewMessage],
) -> Result<StoredMessages, DatabaseError> {
    let mut ids: BTreeMap<RoomId, BTreeSet<Uuid>> = BTreeMap::new();
    for message in messages {
        ids.entry(message.room).or_default().insert(message.id);
    }
    let mut stored = StoredMessages::new();
    for (room, ids) in ids {
        let literals: Vec<_> = ids.iter().map(|id| format!("x'{}'", id.simple())).collect();
        let rows: Vec<(Uuid, String, String, String)> = transaction.query(format!(
            "SELECT id, kind, username, text
             FROM messages FORCE INDEX (request_id)
             WHERE room_id = {} AND id IN ({})",
            room.0,
            literals.join(", ")
        ))?;
        for (id, kind, username, text) in rows {
            stored.insert((room, id, kind), (username, text));
        }
    }
    Ok(stored)
}

fn insert(transaction: &mut Conn, rows: &[(u64, &NewMessage)]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let values = ["(?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))"].repeat(rows.len());
    let parameters: Vec<Value> = rows
        .iter()
        .flat_map(|(seq, message)| {
            [
                message.room.0.into(),
                (*seq).into(),
                message.id.as_bytes().into(),
                message.kind.name().into(),
                message.username.as_str().into(),
                message.text.as_str().into(),
                message.proof.as_deref().into(),
            ]
        })
        .collect();
    Ok(transaction.exec_drop(
        format!(
            "INSERT INTO messages (room_id, seq, id, kind, username, text, proof, sent_at)
             VALUES {}",
            values.join(", ")
        ),
        parameters,
    )?)
}

#[cfg(test)]
mod tests {
    use foundation::jobs;

    use super::*;

    #[test]
    fn the_schema_has_the_queue_s_table_as_the_queue_knows_it() {
        assert!(SCHEMA.sql.ends_with(jobs::TABLE));
    }
}
