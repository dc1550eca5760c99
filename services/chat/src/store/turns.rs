//! Turns of the rooms: each room has at most one question for a proof in the queues, and the others wait in the table `proofs`.

use foundation::mysql::DatabaseError;
use mysql::Conn;
use mysql::prelude::Queryable;

use super::LockedRooms;
use crate::question::{Question, Reply, Route};
use crate::tasks::{CALL_QUEUE, MESSAGER_QUEUE, PROOF_QUEUE, Task, enqueue, to_json};

impl LockedRooms {
    /// Enqueues a question for the messager. A question for a proof waits in the table if the room has another one, until those
    /// before it have ended.
    pub(super) fn enqueue_question(
        &self,
        transaction: &mut Conn,
        question: Question,
    ) -> Result<(), DatabaseError> {
        if question.route != Route::Reverse {
            let other: Option<u8> = transaction.exec_first(
                "SELECT 1
                 FROM proofs
                 WHERE room_id = ?
                 LIMIT 1",
                (self.locked_id(&question),),
            )?;
            transaction.exec_drop(
                "INSERT INTO proofs (room_id, seq, task) VALUES (?, ?, ?)",
                (question.room.0, question.seq, to_json(&question)),
            )?;
            if other.is_some() {
                return Ok(());
            }
        }
        enqueue(transaction, MESSAGER_QUEUE, &Task::Asked(question))
    }

    /// Passes the result of the search for a proof to the messager.
    ///
    /// # Errors
    /// As the database says.
    pub fn end_proof(
        &self,
        transaction: &mut Conn,
        question: &Question,
        reply: &Reply,
    ) -> Result<(), DatabaseError> {
        let key = (self.locked_id(question), question.seq);
        match question.route {
            // Updates no row if the call has failed for good.
            Route::Call => Ok(transaction.exec_drop(
                "UPDATE proofs
                 SET reply = ?
                 WHERE room_id = ? AND seq = ?",
                (to_json(reply), key.0, key.1),
            )?),
            Route::Queue | Route::Reverse => {
                let task = Task::Ended(question.clone(), reply.clone());
                enqueue(transaction, MESSAGER_QUEUE, &task)
            }
        }
    }

    /// Ends the turn of a question, and enqueues the next one of its room. Called in the transaction that stores the result.
    ///
    /// # Errors
    /// As the database says.
    pub fn end_turn(
        &self,
        transaction: &mut Conn,
        question: &Question,
    ) -> Result<(), DatabaseError> {
        let room = self.locked_id(question);
        let mut ended = question.seq;
        loop {
            transaction.exec_drop(
                "DELETE FROM proofs
                 WHERE room_id = ? AND seq = ?",
                (room, ended),
            )?;
            if transaction.affected_rows() == 0 {
                return Ok(());
            }
            let next: Option<(u64, Vec<u8>)> = transaction.exec_first(
                "SELECT seq, task
                 FROM proofs
                 WHERE room_id = ?
                 ORDER BY seq
                 LIMIT 1",
                (room,),
            )?;
            let Some((seq, task)) = next else {
                return Ok(());
            };
            match serde_json::from_slice(&task) {
                Ok(next) => return enqueue_proof(transaction, &next),
                Err(error) => {
                    // Another version wrote it. The room would wait for it for ever.
                    tracing::error!(room, seq, %error, "a question cannot be read, and is skipped");
                    ended = seq;
                }
            }
        }
    }
}

/// Enqueues a question for the workers, and for a call also the task of the messager that waits for the reply.
///
/// # Errors
/// As the database says.
pub fn enqueue_proof(transaction: &mut Conn, question: &Question) -> Result<(), DatabaseError> {
    if question.route == Route::Call {
        enqueue(transaction, CALL_QUEUE, &Task::Asked(question.clone()))?;
    }
    enqueue(transaction, PROOF_QUEUE, question)
}

/// The state of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallState {
    /// There is no reply yet.
    Pending,
    /// There is this reply.
    Replied(Reply),
    /// The call has ended: its result is stored as a message.
    Finished,
}

/// Reads the state of a call.
///
/// # Errors
/// As the database says.
pub fn call_state(connection: &mut Conn, question: &Question) -> Result<CallState, DatabaseError> {
    let found: Option<Option<Vec<u8>>> = connection.exec_first(
        "SELECT reply
         FROM proofs
         WHERE room_id = ? AND seq = ?",
        (question.room.0, question.seq),
    )?;
    Ok(match found {
        // A reply that cannot be parsed was written by another version: the call has failed.
        Some(Some(json)) => CallState::Replied(serde_json::from_slice(&json).unwrap_or(None)),
        Some(None) => CallState::Pending,
        None => CallState::Finished,
    })
}
