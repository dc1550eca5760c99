//! The messager: answers reversed, hands on what is to be proved, and shows what came of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::jobs::{Handler, Job, WorkError, Worker, WorkerLimits};
use foundation::mysql::{Access, Database, DatabaseError, Pool};
use foundation::telemetry::Registry;
use mysql::Conn;

use crate::question::Route;
use crate::store::{self, Called, LockedRooms};
use crate::tasks::{CALL_QUEUE, Inner, MESSAGER_QUEUE, Task, read};

/// Tasks that are answered in one transaction.
const CLAIMS: usize = 64;
/// Calls that are waited for at a time, of as many rooms. More of them wait in the queue, and nothing else does.
const CALLS: usize = 32;
/// The pauses between looks for a reply.
const LOOKS: Backoff = Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(200),
};
/// How long one question to the database may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that calls share.
const CALL_CONNECTIONS: u8 = 4;

/// Begins to answer.
///
/// # Errors
/// If the system gives no thread.
pub fn start(
    database: &Database,
    reply_timeout: Duration,
    registry: &Registry,
) -> io::Result<Inner> {
    let pool = database.pool("replies", CALL_CONNECTIONS);
    let limits = WorkerLimits {
        claims: CLAIMS,
        ..WorkerLimits::threads(1)
    };
    let answerer = Arc::new(Answerer);
    let worker = Worker::start(database, MESSAGER_QUEUE, limits, answerer, registry)?;
    let caller = Arc::new(Caller {
        pool: pool.clone(),
        reply_timeout,
    });
    let limits = WorkerLimits::threads(CALLS);
    let calls = Worker::start(database, CALL_QUEUE, limits, caller, registry)?;
    Ok(Inner {
        pool,
        worker,
        calls: Some(calls),
    })
}

/// Shows answers, and hands on what is to be proved.
struct Answerer;

impl Handler for Answerer {
    type Outcome = Task;

    fn work(&self, job: &Job) -> Result<Task, WorkError> {
        read(job)
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
                    answers.push(question.answered());
                }
                Task::Asked(question) => store::hand_on(transaction, question)?,
                Task::Ended(question, reply) => {
                    answers.push(question.ended(reply));
                    rooms.end_turn(transaction, question)?;
                }
            }
        }
        rooms.append(transaction, &answers).map(drop)
    }

    fn fail(&self, transaction: &mut Conn, job: &Job, cause: &str) -> Result<(), DatabaseError> {
        tracing::error!(job = %job.id, cause, "a task failed for good");
        let Ok(Task::Asked(question) | Task::Ended(question, _)) = read(job) else {
            return Ok(());
        };
        let mut rooms = LockedRooms::lock(transaction, [question.room])?;
        rooms.append(transaction, &[question.failed()])?;
        rooms.end_turn(transaction, &question)
    }
}

/// Waits for the replies to calls: the number of the message in its room relates the two.
struct Caller {
    pool: Pool,
    reply_timeout: Duration,
}

impl Handler for Caller {
    type Outcome = Task;

    /// Waits for the reply, also while the database is away for a while. The time that others have waited before counts.
    fn work(&self, job: &Job) -> Result<Task, WorkError> {
        let (Task::Asked(question) | Task::Ended(question, _)) = read(job)?;
        let waited = (job.claimed_at - job.enqueued_at).to_std();
        let late = Instant::now()
            + self
                .reply_timeout
                .saturating_sub(waited.unwrap_or_default());
        for looks in 0.. {
            let (asked, deadline) = (question.clone(), Instant::now() + QUERY_TIMEOUT);
            let look = move |connection: &mut Conn| store::called(connection, &asked);
            match self.pool.run(Access::Read, deadline, look) {
                Ok(Called::Replied(reply)) => return Ok(Task::Ended(question, reply)),
                Ok(Called::Over) => break,
                Ok(Called::Waits) if Instant::now() >= late => {
                    return Err(WorkError::Fatal("no reply came in time".to_owned()));
                }
                Ok(Called::Waits) | Err(_) => std::thread::sleep(LOOKS.pause(looks)),
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
