//! The worker: searches for proofs, one at a time, on all cores.

use std::io;
use std::sync::Arc;

use foundation::jobs::{Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Database, DatabaseError};
use foundation::telemetry::Registry;
use mysql::Conn;
use prometheus::IntCounter;

use crate::proof::Proof;
use crate::question::{Question, Reply};
use crate::store::LockedRooms;
use crate::tasks::{PROOF_QUEUE, QueueService, parse_payload};

/// Starts the worker.
///
/// # Errors
/// If a thread cannot be created.
pub fn start(
    database: &Database,
    bits: u8,
    threads: usize,
    registry: &Registry,
) -> io::Result<QueueService> {
    let prover = Arc::new(Prover {
        bits,
        threads,
        tried: registry.counter("hashes_total", "Nonces tried in the search for proofs"),
    });
    let limits = WorkerLimits::threads(1);
    Ok(QueueService {
        pool: database.pool("checks", 1),
        worker: Worker::start(database, PROOF_QUEUE, limits, prover, registry)?,
        call_worker: None,
    })
}

struct Prover {
    bits: u8,
    threads: usize,
    tried: IntCounter,
}

impl Handler for Prover {
    type Outcome = (Question, Reply);

    fn work(&self, job: &Job) -> Result<(Question, Reply), WorkError> {
        let question: Question = parse_payload(job)?;
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
    ) -> Result<(), DatabaseError> {
        let rooms = done.iter().map(|(_, (question, _))| question.room);
        let rooms = LockedRooms::lock(transaction, rooms)?;
        done.iter()
            .try_for_each(|(_, (question, reply))| rooms.end_proof(transaction, question, reply))
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        tracing::error!(job = %job.id, cause, "a proof failed for good");
        let Ok(question) = parse_payload::<Question>(job) else {
            return Ok(());
        };
        let rooms = LockedRooms::lock(transaction, [question.room])?;
        rooms.end_proof(transaction, &question, &None)
    }
}
