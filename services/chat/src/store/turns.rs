//! Whose turn it is: of each room one question for a proof is on its way, and the others wait in the table `proofs`.

use foundation::mysql::DatabaseError;
use mysql::Conn;
use mysql::prelude::Queryable;

use super::LockedRooms;
use crate::question::{Question, Reply, Route};
use crate::tasks::{CALL_QUEUE, MESSAGER_QUEUE, PROOF_QUEUE, Task, enqueue, json};

impl LockedRooms {
    /// Asks the inner service: at once, but for a proof only if no other of its room is asked for, else when those before it
    /// are made.
    pub(super) fn ask(
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
                (self.locked(&question),),
            )?;
            transaction.exec_drop(
                "INSERT INTO proofs (room_id, seq, task) VALUES (?, ?, ?)",
                (question.room.0, question.seq, json(&question)),
            )?;
            if other.is_some() {
                return Ok(());
            }
        }
        enqueue(transaction, MESSAGER_QUEUE, &Task::Asked(question))
    }

    /// Ends the search for a proof with what came of it.
    ///
    /// # Errors
    /// As the database says.
    pub fn end_proof(
        &self,
        transaction: &mut Conn,
        question: &Question,
        reply: &Reply,
    ) -> Result<(), DatabaseError> {
        let key = (self.locked(question), question.seq);
        match question.route {
            // If the call has failed for good, nobody would take it.
            Route::Call => Ok(transaction.exec_drop(
                "UPDATE proofs
                 SET reply = ?
                 WHERE room_id = ? AND seq = ?",
                (json(reply), key.0, key.1),
            )?),
            Route::Queue | Route::Reverse => {
                let task = Task::Ended(question.clone(), reply.clone());
                enqueue(transaction, MESSAGER_QUEUE, &task)
            }
        }
    }

    /// Gives the turn to the next question of a room, as what came of this one is shown in this transaction.
    ///
    /// # Errors
    /// As the database says.
    pub fn end_turn(
        &self,
        transaction: &mut Conn,
        question: &Question,
    ) -> Result<(), DatabaseError> {
        transaction.exec_drop(
            "DELETE FROM proofs
             WHERE room_id = ? AND seq = ?",
            (self.locked(question), question.seq),
        )?;
        if transaction.affected_rows() == 0 {
            return Ok(());
        }
        let next: Option<Vec<u8>> = transaction.exec_first(
            "SELECT task
             FROM proofs
             WHERE room_id = ?
             ORDER BY seq
             LIMIT 1",
            (question.room.0,),
        )?;
        match next.map(|task| serde_json::from_slice(&task)) {
            Some(Ok(next)) => hand_on(transaction, &next),
            Some(Err(_written_by_another_version)) => {
                Err(mysql::DriverError::UnexpectedPacket.into())
            }
            None => Ok(()),
        }
    }
}

/// Hands a question on to the workers, and to the messager what waits for the reply if it is a call.
///
/// # Errors
/// As the database says.
pub fn hand_on(transaction: &mut Conn, question: &Question) -> Result<(), DatabaseError> {
    if question.route == Route::Call {
        enqueue(transaction, CALL_QUEUE, &Task::Asked(question.clone()))?;
    }
    enqueue(transaction, PROOF_QUEUE, question)
}

/// Where a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// The proof is not made yet.
    Waits,
    /// This came of it.
    Replied(Reply),
    /// What came of it is shown.
    Over,
}

/// Where a call is.
///
/// # Errors
/// As the database says.
pub fn called(connection: &mut Conn, question: &Question) -> Result<Called, DatabaseError> {
    let found: Option<Option<Vec<u8>>> = connection.exec_first(
        "SELECT reply
         FROM proofs
         WHERE room_id = ? AND seq = ?",
        (question.room.0, question.seq),
    )?;
    Ok(match found {
        // What cannot be read was written by another version: the call has failed.
        Some(Some(json)) => Called::Replied(serde_json::from_slice(&json).unwrap_or(None)),
        Some(None) => Called::Waits,
        None => Called::Over,
    })
}
