//! The messager: answers with the text reversed, enqueues proofs for the workers, and stores their results as messages.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::jobs::{Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Access, Database, DatabaseError, Pool};
use foundation::telemetry::Registry;
use mysql::Conn;

use crate::question::Route;
use crate::store::{self, CallState, LockedRooms};
use crate::tasks::{CALL_QUEUE, MESSAGER_QUEUE, QueueService, Task, parse_payload};

/// Most tasks that are claimed at a time and completed in one transaction.
const MAX_BATCH: usize = 64;
/// Threads that each wait for the reply to one call, each of another room. Further calls stay in the queue, and delay nothing
/// else.
const CALL_THREADS: usize = 32;
/// The pauses between polls for a reply.
const POLL_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(200),
};
/// How long one query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that the call threads share.
const CALL_CONNECTIONS: u8 = 4;

/// Starts the messager.
///
/// # Errors
/// If a thread cannot be created.
pub fn start(
    database: &Database,
    reply_timeout: Duration,
    registry: &Registry,
) -> io::Result<QueueService> {
    let pool = database.pool("replies", CALL_CONNECTIONS);
    let limits = WorkerLimits {
        claims: MAX_BATCH,
        ..WorkerLimits::threads(1)
    };
    let answerer = Arc::new(Answerer);
    let worker = Worker::start(database, MESSAGER_QUEUE, limits, answerer, registry)?;
    let caller = Arc::new(Caller {
        pool: pool.clone(),
        reply_timeout,
    });
    let limits = WorkerLimits::threads(CALL_THREADS);
    let call_worker = Worker::start(database, CALL_QUEUE, limits, caller, registry)?;
    Ok(QueueService {
        pool,
        worker,
        call_worker: Some(call_worker),
    })
}

/// Stores answers, and enqueues proofs for the workers.
struct Answerer;

impl Handler for Answerer {
    type Outcome = Task;

    fn work(&self, job: &Job) -> Result<Task, WorkError> {
        parse_payload(job)
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Task)],
    ) -> Result<(), DatabaseError> {
        let questions = done.iter().map(|(_, task)| match task {
            Task::Asked(question) | Task::Ended(question, _) => question,
        });
        let mut rooms = LockedRooms::lock(transaction, questions.map(|question| question.room))?;
        let mut answers = Vec::new();
        for (_, task) in done {
            match task {
                Task::Asked(question) if question.route == Route::Reverse => {
                    answers.push(question.answer());
                }
                Task::Asked(question) => store::enqueue_proof(transaction, question)?,
                Task::Ended(question, reply) => {
                    answers.push(question.result_message(reply));
                    rooms.end_turn(transaction, question)?;
                }
            }
        }
        rooms.append(transaction, &answers).map(drop)
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        tracing::error!(job = %job.id, cause, "a task failed for good");
        let Ok(Task::Asked(question) | Task::Ended(question, _)) = parse_payload(job) else {
            return Ok(());
        };
        let mut rooms = LockedRooms::lock(transaction, [question.room])?;
        rooms.append(transaction, &[question.failure_notice()])?;
        rooms.end_turn(transaction, &question)
    }
}

/// Waits for the replies to calls. Room and number of the message relate a reply to its call.
struct Caller {
    pool: Pool,
    reply_timeout: Duration,
}

impl Handler for Caller {
    type Outcome = Task;

    /// Waits for the reply, even if the database is away for a while. The timeout counts from when the call was enqueued, so it
    /// includes the time that other messagers have waited.
    fn work(&self, job: &Job) -> Result<Task, WorkError> {
        let (Task::Asked(question) | Task::Ended(question, _)) = parse_payload(job)?;
        let waited = (job.claimed_at - job.enqueued_at).to_std();
        let reply_deadline = Instant::now()
            + self
                .reply_timeout
                .saturating_sub(waited.unwrap_or_default());
        for polls in 0.. {
            let (asked, query_deadline) = (question.clone(), Instant::now() + QUERY_TIMEOUT);
            let poll = move |connection: &mut Conn| store::call_state(connection, &asked);
            match self.pool.run(Access::Read, query_deadline, poll) {
                Ok(CallState::Replied(reply)) => return Ok(Task::Ended(question, reply)),
                Ok(CallState::Finished) => break,
                Ok(CallState::Pending) if Instant::now() >= reply_deadline => {
                    return Err(WorkError::Fatal("no reply came in time".to_owned()));
                }
                Ok(CallState::Pending) | Err(_) => std::thread::sleep(POLL_BACKOFF.pause(polls)),
            }
        }
        Err(WorkError::Retry(
            "nothing is asked for, and there is no reply".to_owned(),
        ))
    }

    fn complete(
        &self,
        transaction: &mut Conn,
        done: &[(&Job, &Task)],
    ) -> Result<(), DatabaseError> {
        Answerer.complete(transaction, done)
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        Answerer.fail(transaction, job, cause)
    }
}
