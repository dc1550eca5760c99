//! What the processes have each other do, through the queues.

use foundation::jobs;
use mysql::Conn;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::NewMessage;
use crate::proof::Proof;
use crate::question::{Question, Route};

/// What the messager reads: [`Task`].
pub const MESSAGER_QUEUE: &str = "messager";
/// Questions for which the messager calls a worker.
pub const CALL_QUEUE: &str = "calls";
/// Questions whose proof is looked for.
pub const PROOF_QUEUE: &str = "proofs";

/// Asks the inner service what a message that was stored asks.
///
/// # Errors
/// As the database says.
pub(crate) fn ask(
    transaction: &mut Conn,
    message: &NewMessage,
    seq: u64,
) -> Result<(), mysql::Error> {
    let (route, text) = Question::read(&message.text);
    let question = Question {
        room: message.room,
        seq,
        id: message.id,
        text: text.to_owned(),
        route,
    };
    match route {
        Route::Reverse | Route::Queue => {
            enqueue(transaction, MESSAGER_QUEUE, &Task::Asked(question))
        }
        Route::Call => enqueue(transaction, CALL_QUEUE, &question),
    }
}

/// What the messager is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// To answer, or have proved.
    Asked(Question),
    /// To show what came of a proof.
    Ended(Question, Reply),
}

/// What a worker made of a question; `None` if it failed for good.
pub type Reply = Option<Proof>;

/// Puts a task into a queue.
///
/// # Errors
/// As the database says.
pub(crate) fn enqueue(
    transaction: &mut Conn,
    queue: &str,
    task: &impl Serialize,
) -> Result<(), mysql::Error> {
    jobs::enqueue(transaction, queue, Uuid::now_v7(), &json(task))
}

/// A task as the queues hold it.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("types of the queues have no maps")
}
