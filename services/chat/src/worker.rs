//! The worker: looks for proofs, one at a time, on all cores.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use foundation::http::{Endpoint, Problem, Service};
use foundation::jobs::{CHECK_WRITABLE, Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Database, Pool};
use foundation::telemetry::Registry;
use mysql::Conn;
use prometheus::IntCounter;

use crate::proof::Proof;
use crate::question::Question;
use crate::store::LockedRooms;
use crate::tasks::{PROOF_QUEUE, Reply};

/// The worker's process.
pub struct ProofService {
    pool: Pool,
    worker: Worker,
}

impl ProofService {
    /// Begins to work.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        database: &Database,
        bits: u8,
        threads: usize,
        registry: &Registry,
    ) -> io::Result<Self> {
        let prover = Prover {
            bits,
            threads,
            tried: registry.counter("hashes_total", "Nonces tried in the search for proofs"),
        };
        let limits = WorkerLimits::threads(1);
        Ok(Self {
            pool: database.pool("checks", 1),
            worker: Worker::start(database, PROOF_QUEUE, limits, Arc::new(prover), registry)?,
        })
    }
}

impl Service for ProofService {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.pool.check_writable(deadline, CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn finish(self, deadline: Instant) {
        self.worker.finish(deadline);
    }
}

struct Prover {
    bits: u8,
    threads: usize,
    tried: IntCounter,
}

impl Handler for Prover {
    type Outcome = (Question, Reply);

    fn work(&self, job: &Job) -> Result<(Question, Reply), WorkError> {
        let question = read(job).map_err(WorkError::Fatal)?;
        let proof = Proof::find(&question.text, self.bits, self.threads, &self.tried);
        tracing::info!(
            room = question.room.0,
            seq = question.seq,
            elapsed_ms = proof.elapsed_ms,
            hashes = proof.hashes,
            "proved"
        );
        Ok((question, Some(proof)))
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &(Question, Reply))],
    ) -> Result<(), mysql::Error> {
        let rooms = done.iter().map(|(_, (question, _))| question.room);
        let rooms = LockedRooms::lock(transaction, rooms)?;
        done.iter()
            .try_for_each(|(_, (question, reply))| rooms.end_proof(transaction, question, reply))
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), mysql::Error> {
        tracing::error!(job = %job.id, cause, "a proof failed for good");
        let Ok(question) = read(job) else {
            return Ok(());
        };
        let rooms = LockedRooms::lock(transaction, [question.room])?;
        rooms.end_proof(transaction, &question, &None)
    }
}

fn read(job: &Job) -> Result<Question, String> {
    serde_json::from_slice(&job.payload).map_err(|error| error.to_string())
}
