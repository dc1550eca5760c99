//! What the processes have each other do, through the queues.

use std::time::Instant;

use foundation::http::{Endpoint, Problem, Service};
use foundation::jobs::{self, CHECK_WRITABLE, Job, WorkError, Worker};
use foundation::mysql::{DatabaseError, Pool};
use mysql::Conn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::question::{Question, Reply};

/// What the messager reads: [`Task`].
pub const MESSAGER_QUEUE: &str = "messager";
/// Those of the messager's tasks for which it waits for a worker's reply.
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

/// A process that works through queues: the messager, or a worker.
pub struct Inner {
    pub(crate) pool: Pool,
    pub(crate) worker: Worker,
    /// Of the messager.
    pub(crate) calls: Option<Worker>,
}

impl Service for Inner {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.pool.check_writable(deadline, CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn finish(self, deadline: Instant) {
        self.worker.finish(deadline);
        // Who waits for a reply waits for long; another messager goes on with it.
        if let Some(calls) = self.calls {
            calls.finish(Instant::now());
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
    jobs::enqueue(transaction, queue, Uuid::now_v7(), &json(task))
}

/// Reads a task of a queue.
///
/// # Errors
/// If another version has written it.
pub(crate) fn read<T: DeserializeOwned>(job: &Job) -> Result<T, WorkError> {
    serde_json::from_slice(&job.payload).map_err(|error| WorkError::Fatal(error.to_string()))
}

/// A task as the queues hold it.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("types of the queues have no maps")
}
