//! What the processes have each other do, through the queues.

use foundation::jobs;
use mysql::Conn;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::proof::Proof;
use crate::question::Question;

/// What the messager reads: [`Task`].
pub const MESSAGER_QUEUE: &str = "messager";
/// Questions for which the messager waits for a worker's reply.
pub const CALL_QUEUE: &str = "calls";
/// Questions whose proof is looked for.
pub const PROOF_QUEUE: &str = "proofs";

/// What the messager is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// To answer, or hand on to the workers.
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
