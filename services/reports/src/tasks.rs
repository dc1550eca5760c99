//! All SQL of tasks. What a task is while it has not ended stands in the queue: see [`foundation::jobs`].

use chrono::{DateTime, NaiveDateTime, Utc};
use foundation::jobs::{self, Job};
use foundation::mysql::{DatabaseError, ErrorClass, column, time, transaction};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use serde::de::{IntoDeserializer, value};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The queue of reports that are to be made.
pub const QUEUE: &str = "reports";

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It waits for a worker, for the first time or again.
    Pending,
    /// A worker has claimed it, and its lease is not over.
    InWork,
    /// Its report is there.
    Completed,
    /// It has failed for good.
    Error,
    /// Its client does not want it any more.
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

    /// Whether nothing more will happen to the task.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::InWork)
    }
}

/// A task: a report that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// Its id, by which it is asked for.
    pub task_id: Uuid,
    /// What is done: `tasks.calls:aggregate_calls`.
    pub task_name: &'static str,
    /// How far it has come.
    pub task_status: TaskStatus,
    /// When it was asked for.
    pub received: DateTime<Utc>,
    /// When the worker began that has it; of a task that has ended, the one that had it last. Null while no worker has begun,
    /// and while a task whose attempt failed waits for the next.
    #[schema(required)]
    pub started: Option<DateTime<Utc>>,
    /// When it ended, in whatever way.
    #[schema(required)]
    pub completed: Option<DateTime<Utc>>,
    /// How often a worker has begun.
    pub attempts: u32,
    /// Why it failed, or why the last attempt did.
    #[schema(required)]
    pub error_message: Option<String>,
}

const TASK_NAME: &str = "tasks.calls:aggregate_calls";

/// A task that is to be stored.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The client's key, or one drawn here: tasks with the same are the same.
    pub request_id: Uuid,
    /// What the client calls it: a string or a number in JSON, or `null`.
    pub correlation_id: String,
    /// What is asked for, in JSON.
    pub request: Vec<u8>,
}

/// Stores a task together with its job, unless it is there. None if the key was used for another task.
///
/// # Errors
/// As the database says. Of a COMMIT without an answer it is not known whether it was done; the same key tells.
pub fn store(connection: &mut Conn, new: &NewTask) -> Result<Option<Task>, DatabaseError> {
    let id = Uuid::now_v7();
    match insert(connection, id, new) {
        Ok(()) => {}
        Err(error) if error.class() == ErrorClass::Duplicate => {
            return find_again(connection, new);
        }
        Err(error) => return Err(error),
    }
    // By the clock of the database, like all other times.
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

fn find_again(connection: &mut Conn, new: &NewTask) -> Result<Option<Task>, DatabaseError> {
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

/// A task's columns, for `TASKS`.
const COLUMNS: &str = "\
    tasks.id, tasks.ended_as, tasks.received_at, COALESCE(tasks.started_at, jobs.claimed_at), tasks.ended_at,
    COALESCE(jobs.attempt, tasks.attempts), COALESCE(tasks.error_message, jobs.last_error),
    COALESCE(jobs.claimed_at IS NOT NULL AND jobs.available_at > UTC_TIMESTAMP(6), 0)";
const TASKS: &str = "tasks LEFT JOIN jobs ON jobs.id = tasks.id";

/// The tasks with these ids, in no order; those that are unknown are left out.
///
/// # Errors
/// As the database says.
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

/// The newest tasks, `limit` at most: of a status, asked for under one of these names in JSON, stored before another.
///
/// # Errors
/// As the database says.
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
    let places = vec!["?"; correlation_ids.len()].join(", ");
    let correlated = format!("tasks.correlation_id IN ({places})");
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

/// A task that has a report, and the report.
#[derive(Debug)]
pub struct Reported {
    /// The task.
    pub task: Task,
    /// What the client calls it, in JSON.
    pub correlation_id: String,
    /// The figures, in JSON, and how long the worker took; none while there is no report.
    pub report: Option<(String, f64)>,
}

/// The report of a task; none if there is no such task.
///
/// # Errors
/// As the database says.
pub fn report(connection: &mut Conn, id: Uuid) -> Result<Option<Reported>, DatabaseError> {
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
    Ok(Some(Reported {
        correlation_id,
        report: figures.zip(work_us.map(seconds)),
        task: task(row)?,
    }))
}

/// What came of cancelling a task.
#[derive(Debug)]
pub enum Cancelled {
    /// It is cancelled now.
    Now(Task),
    /// It had ended before.
    TooLate(Task),
    /// There is no such task.
    Unknown,
}

/// Cancels a task that has not ended.
///
/// # Errors
/// As the database says.
pub fn cancel(connection: &mut Conn, id: Uuid) -> Result<Cancelled, DatabaseError> {
    // Waits for a worker that is just ending it. The job first, as workers do.
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
        Some(task) if is_cancelled => Cancelled::Now(task),
        Some(task) => Cancelled::TooLate(task),
        None => Cancelled::Unknown,
    })
}

/// Writes that a task has ended, in the transaction that ends its job: completed, with its figures and the microseconds that
/// the worker took, or failed for good with a cause.
///
/// # Errors
/// As the database says.
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
