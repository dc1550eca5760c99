//! All SQL for tasks. The status of a task that has not ended comes from its job in the queue: see [`foundation::jobs`].

use chrono::{DateTime, NaiveDateTime, Utc};
use foundation::jobs::{self, Job};
use foundation::mysql::{DatabaseError, ErrorClass, column, time, transaction};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use serde::de::{IntoDeserializer, value};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The name of the queue of reports to make.
pub const QUEUE: &str = "reports";

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It waits for a worker, for the first time or again.
    Pending,
    /// A worker has claimed it, and the lease has not expired.
    InWork,
    /// Its report is made.
    Completed,
    /// It has failed for good.
    Error,
    /// Its client cancelled it.
    Cancelled,
}

impl TaskStatus {
    /// Its name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InWork => "in_work",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the status is final.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::InWork)
    }
}

/// A task: a requested report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// Its id.
    pub task_id: Uuid,
    /// The kind of work; always `tasks.calls:aggregate_calls`.
    pub task_name: &'static str,
    /// Its status.
    pub task_status: TaskStatus,
    /// When it was received.
    pub received: DateTime<Utc>,
    /// When the current attempt began or, if the task has ended, the last attempt. Null before the first attempt, and while a
    /// task whose attempt failed waits for the next one.
    #[schema(required)]
    pub started: Option<DateTime<Utc>>,
    /// When it was completed, failed for good or was cancelled.
    #[schema(required)]
    pub completed: Option<DateTime<Utc>>,
    /// How many attempts have begun.
    pub attempts: u32,
    /// Why the task or its last attempt failed.
    #[schema(required)]
    pub error_message: Option<String>,
}

const TASK_NAME: &str = "tasks.calls:aggregate_calls";

/// A task to store.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The client's idempotency key, or one drawn by the server. It identifies the task.
    pub request_id: Uuid,
    /// The client's correlation id, in JSON: a string, a number or `null`.
    pub correlation_id: String,
    /// The report request, in JSON.
    pub request: Vec<u8>,
}

/// Stores a task together with its job, unless it is stored already. None if the key was used for another task.
///
/// # Errors
/// Those of the database. If a COMMIT was not answered, its outcome is unknown; a retry with the same key resolves it.
pub fn store(connection: &mut Conn, new: &NewTask) -> Result<Option<Task>, DatabaseError> {
    let id = Uuid::now_v7();
    match insert(connection, id, new) {
        Ok(()) => {}
        Err(error) if error.class() == ErrorClass::Duplicate => {
            return find_by_request_id(connection, new);
        }
        Err(error) => return Err(error),
    }
    // Read back, because the time comes from the clock of the database, like all other times.
    let select = "SELECT received_at FROM tasks WHERE id = ?";
    let row: Option<Row> = connection.exec_first(select, (id.as_bytes(),))?;
    let mut row = row.ok_or(mysql::DriverError::UnexpectedPacket)?;
    Ok(Some(Task {
        task_id: id,
        task_name: TASK_NAME,
        task_status: TaskStatus::Pending,
        received: time(&mut row, 0)?,
        started: None,
        completed: None,
        attempts: 0,
        error_message: None,
    }))
}

fn insert(connection: &mut Conn, id: Uuid, new: &NewTask) -> Result<(), DatabaseError> {
    transaction(connection, |transaction| {
        transaction.exec_drop(
            "INSERT INTO tasks (id, request_id, correlation_id, request, received_at)
             VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))",
            (
                id.as_bytes(),
                new.request_id.as_bytes(),
                &new.correlation_id,
                &new.request,
            ),
        )?;
        jobs::enqueue(transaction, QUEUE, id, &new.request)
    })
}

fn find_by_request_id(connection: &mut Conn, new: &NewTask) -> Result<Option<Task>, DatabaseError> {
    let found: Option<(Uuid, String, Vec<u8>)> = connection.exec_first(
        "SELECT id, correlation_id, request
         FROM tasks
         WHERE request_id = ?",
        (new.request_id.as_bytes(),),
    )?;
    let (id, correlation_id, request) = found.ok_or(mysql::DriverError::UnexpectedPacket)?;
    if (&correlation_id, &request) != (&new.correlation_id, &new.request) {
        return Ok(None);
    }
    Ok(find(connection, &[id])?.pop())
}

/// The columns that `task` reads, of `TASKS`.
const COLUMNS: &str = "\
    tasks.id, tasks.ended_as, tasks.received_at, COALESCE(tasks.started_at, jobs.claimed_at), tasks.ended_at,
    COALESCE(jobs.attempt, tasks.attempts), COALESCE(tasks.error_message, jobs.last_error),
    COALESCE(jobs.claimed_at IS NOT NULL AND jobs.available_at > UTC_TIMESTAMP(6), 0)";
const TASKS: &str = "tasks LEFT JOIN jobs ON jobs.id = tasks.id";

/// The tasks with these ids, in no particular order; unknown ids are left out.
///
/// # Errors
/// Those of the database.
pub fn find(connection: &mut Conn, ids: &[Uuid]) -> Result<Vec<Task>, DatabaseError> {
    let ids: Vec<_> = ids.iter().map(|id| format!("x'{}'", id.simple())).collect();
    let rows: Vec<Row> = connection.query(format!(
        "SELECT {COLUMNS}
         FROM {TASKS}
         WHERE tasks.id IN ({})",
        ids.join(", ")
    ))?;
    rows.into_iter().map(task).collect()
}

/// The newest tasks, at most `limit`. If given: only those of `status`, with one of `correlation_ids` (in JSON), older than
/// `before`.
///
/// # Errors
/// Those of the database.
pub fn list(
    connection: &mut Conn,
    status: Option<TaskStatus>,
    correlation_ids: &[String],
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Task>, DatabaseError> {
    let mut conditions = vec!["TRUE"];
    let mut values: Vec<Value> = Vec::new();
    let in_work = "jobs.claimed_at IS NOT NULL AND jobs.available_at > UTC_TIMESTAMP(6)";
    let pending = "(jobs.claimed_at IS NULL OR jobs.available_at <= UTC_TIMESTAMP(6))";
    match status {
        None => {}
        Some(TaskStatus::InWork) => conditions.extend(["tasks.ended_as IS NULL", in_work]),
        Some(TaskStatus::Pending) => conditions.extend(["tasks.ended_as IS NULL", pending]),
        Some(ended) => {
            conditions.push("tasks.ended_as = ?");
            values.push(ended.name().into());
        }
    }
    let placeholders = vec!["?"; correlation_ids.len()].join(", ");
    let correlated = format!("tasks.correlation_id IN ({placeholders})");
    if !correlation_ids.is_empty() {
        conditions.push(&correlated);
        values.extend(correlation_ids.iter().map(Value::from));
    }
    if let Some(before) = before {
        conditions.push("tasks.id < ?");
        values.push(before.as_bytes().into());
    }
    values.push(limit.into());
    let rows: Vec<Row> = connection.exec(
        format!(
            "SELECT {COLUMNS}
             FROM {TASKS}
             WHERE {}
             ORDER BY tasks.id DESC
             LIMIT ?",
            conditions.join(" AND ")
        ),
        values,
    )?;
    rows.into_iter().map(task).collect()
}

fn task(mut row: Row) -> Result<Task, DatabaseError> {
    let ended_as: Option<String> = column(&mut row, 1)?;
    let is_in_work: bool = column(&mut row, 7)?;
    let task_status = match ended_as {
        Some(name) => TaskStatus::deserialize(name.into_deserializer())
            .map_err(|_unknown: value::Error| mysql::DriverError::UnexpectedPacket)?,
        None if is_in_work => TaskStatus::InWork,
        None => TaskStatus::Pending,
    };
    Ok(Task {
        task_id: column(&mut row, 0)?,
        task_name: TASK_NAME,
        task_status,
        received: time(&mut row, 2)?,
        started: optional_time(&mut row, 3)?,
        completed: optional_time(&mut row, 4)?,
        attempts: column(&mut row, 5)?,
        error_message: column(&mut row, 6)?,
    })
}

/// A task, and its report if it has one.
#[derive(Debug)]
pub struct TaskReport {
    /// The task.
    pub task: Task,
    /// The client's correlation id, in JSON.
    pub correlation_id: String,
    /// The figures, in JSON, and the seconds that the worker took; none if there is no report.
    pub report: Option<(String, f64)>,
}

/// A task with its report; none if there is no such task.
///
/// # Errors
/// Those of the database.
pub fn report(connection: &mut Conn, id: Uuid) -> Result<Option<TaskReport>, DatabaseError> {
    let row: Option<Row> = connection.exec_first(
        format!(
            "SELECT {COLUMNS}, tasks.correlation_id, tasks.report, tasks.work_us
             FROM {TASKS}
             WHERE tasks.id = ?"
        ),
        (id.as_bytes(),),
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let correlation_id = column(&mut row, 8)?;
    let figures: Option<String> = column(&mut row, 9)?;
    let work_us: Option<u32> = column(&mut row, 10)?;
    let seconds = |microseconds: u32| f64::from(microseconds) / 1e6;
    Ok(Some(TaskReport {
        correlation_id,
        report: figures.zip(work_us.map(seconds)),
        task: task(row)?,
    }))
}

/// The result of cancelling a task.
#[derive(Debug)]
pub enum CancelResult {
    /// It was cancelled by this call.
    Cancelled(Task),
    /// It had ended already.
    AlreadyEnded(Task),
    /// There is no such task.
    NotFound,
}

/// Cancels a task that has not ended.
///
/// # Errors
/// Those of the database.
pub fn cancel(connection: &mut Conn, id: Uuid) -> Result<CancelResult, DatabaseError> {
    // Waits for a worker that is ending it now. Locks the job before the task, as workers do, so that they do not deadlock.
    let is_cancelled = transaction(connection, |transaction| {
        let job: Option<(u32, Option<NaiveDateTime>, Option<String>)> = transaction.exec_first(
            "SELECT attempt, claimed_at, last_error
             FROM jobs
             WHERE id = ?
             FOR UPDATE",
            (id.as_bytes(),),
        )?;
        let Some((attempts, started_at, last_error)) = job else {
            return Ok(false);
        };
        transaction.exec_drop(
            "UPDATE tasks
             SET ended_as = 'cancelled', started_at = ?, ended_at = UTC_TIMESTAMP(6), attempts = ?, error_message = ?
             WHERE id = ?",
            (started_at, attempts, last_error, id.as_bytes()),
        )?;
        jobs::cancel(transaction, id)
    })?;
    Ok(match find(connection, &[id])?.pop() {
        Some(task) if is_cancelled => CancelResult::Cancelled(task),
        Some(task) => CancelResult::AlreadyEnded(task),
        None => CancelResult::NotFound,
    })
}

/// Marks a task as ended, in the transaction that ends its job: completed, with its figures and the microseconds that the
/// worker took, or failed for good, with a cause.
///
/// # Errors
/// Those of the database.
pub fn end(
    transaction: &mut Conn,
    job: &Job,
    outcome: Result<(&[u8], u32), &str>,
) -> Result<(), DatabaseError> {
    let ended_as = match outcome {
        Ok(_) => TaskStatus::Completed,
        Err(_) => TaskStatus::Error,
    };
    let (figures, work_us) = outcome.ok().unzip();
    Ok(transaction.exec_drop(
        "UPDATE tasks
         SET
           ended_as = ?,
           started_at = ?,
           ended_at = UTC_TIMESTAMP(6),
           attempts = ?,
           error_message = ?,
           report = ?,
           work_us = ?
         WHERE id = ?",
        (
            ended_as.name(),
            job.claimed_at.naive_utc(),
            job.attempt,
            outcome.err(),
            figures,
            work_us,
            job.id.as_bytes(),
        ),
    )?)
}

fn optional_time(row: &mut Row, index: usize) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let time: Option<NaiveDateTime> = column(row, index)?;
    Ok(time.map(|time| time.and_utc()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_has_the_table_of_the_queue() {
        assert!(include_str!("../schema.sql").contains(foundation::jobs::TABLE));
    }
}
