//! The tasks that the processes give each other through queues.

use std::time::Instant;

use foundation::http::{Endpoint, Problem, Service};
use foundation::jobs::{self, CHECK_WRITABLE, Job, WorkError, Worker};
use foundation::mysql::{DatabaseError, Pool};
use mysql::Conn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::question::{Question, Reply};

/// The queue of the messager; its payload is a [`Task`].
pub const MESSAGER_QUEUE: &str = "messager";
/// The queue of calls: tasks for which the messager waits for a worker's reply.
pub const CALL_QUEUE: &str = "calls";
/// The queue of the workers; its payload is a [`Question`].
pub const PROOF_QUEUE: &str = "proofs";

/// A task for the messager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Answer the question, or enqueue it for the workers.
    Asked(Question),
    /// Store the result of the search for a proof as a message.
    Ended(Question, Reply),
}

/// A process that works on jobs of a queue: the messager, or a worker.
pub struct QueueService {
    pub(crate) pool: Pool,
    pub(crate) worker: Worker,
    /// Waits for the replies to calls, in the messager only.
    pub(crate) call_worker: Option<Worker>,
}

impl Service for QueueService {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.pool.check_writable(deadline, CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn finish(self, deadline: Instant) {
        self.worker.finish(deadline);
        // A reply may take long. Another messager goes on to wait for it.
        if let Some(call_worker) = self.call_worker {
            call_worker.finish(Instant::now());
        }
    }
}

/// Puts a task into a queue.
///
/// # Errors
/// As the database says.
pub(crate) fn enqueue(
    transaction: &mut Conn,
    queue: &str,
    task: &impl Serialize,
) -> Result<(), DatabaseError> {
    jobs::enqueue(transaction, queue, Uuid::now_v7(), &to_json(task))
}

/// Parses the payload of a job.
///
/// # Errors
/// If another version has written it.
pub(crate) fn parse_payload<T: DeserializeOwned>(job: &Job) -> Result<T, WorkError> {
    serde_json::from_slice(&job.payload).map_err(|error| WorkError::Fatal(error.to_string()))
}

/// A task or reply in JSON, as it is stored.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("types of the queues have no maps")
}
