//! The SQL of the queue. All values that are not numbers are parameters or hexadecimal literals.
//!
//! The table is small most of the time, and then MariaDB prefers a scan to a look-up of a few ids, and waits for rows that
//! others have locked. So each statement that locks names its index, or looks up a single id.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use mysql::prelude::Queryable;
use mysql::{Conn, FromRowError};
use uuid::Uuid;

use super::{Claim, Job};
use crate::mysql::{DatabaseError, run_all};

/// The table, for the schema of each service that has a queue. It has the jobs that wait or are claimed; a job that has ended is
/// deleted.
pub const TABLE: &str = include_str!("table.sql");

/// For [`Pool::check_writable`](crate::mysql::Pool::check_writable) of a service with a queue.
pub const CHECK_WRITABLE: &str = "UPDATE jobs SET attempt = attempt WHERE id = '' AND FALSE";

/// Most characters of a cause that are stored: a longer one would be refused, again and again.
const MAX_CAUSE: u32 = 1000;

/// Adds a job to a queue.
///
/// # Errors
/// As the database says, also if there is a job with this id already.
pub fn enqueue(
    transaction: &mut impl Queryable,
    queue: &str,
    id: Uuid,
    payload: &[u8],
) -> Result<(), DatabaseError> {
    Ok(transaction.exec_drop(
        "INSERT INTO jobs (id, queue, payload, available_at, enqueued_at)
         VALUES (?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        (id.as_bytes(), queue, payload),
    )?)
}

/// Removes a job from its queue. A worker that has it cannot write its result any more. Returns whether it was there: otherwise
/// it has ended, or never existed.
///
/// # Errors
/// As the database says.
pub fn cancel(transaction: &mut Conn, id: Uuid) -> Result<bool, DatabaseError> {
    transaction.exec_drop("DELETE FROM jobs WHERE id = ?", (id.as_bytes(),))?;
    Ok(transaction.affected_rows() > 0)
}

/// Whether there is a job to claim. Locks nothing.
pub(super) fn is_due(connection: &mut Conn, queue: &str) -> Result<bool, DatabaseError> {
    let due: Option<u8> = connection.exec_first(
        "SELECT 1
         FROM jobs FORCE INDEX (claim)
         WHERE queue = ? AND available_at <= UTC_TIMESTAMP(6)
         LIMIT 1",
        (queue,),
    )?;
    Ok(due.is_some())
}

/// A claimed job, and the time of its previous claim, if that ended by the end of its lease.
pub(super) type Claimed = (Job, Option<DateTime<Utc>>);

/// Claims up to `most` jobs for the time of `lease`, those that have waited longest. Skips those that others are claiming.
pub(super) fn claim(
    transaction: &mut Conn,
    queue: &str,
    most: usize,
    lease: Duration,
) -> Result<Vec<Claimed>, DatabaseError> {
    let rows = transaction.exec_map_opt(
        "SELECT id, payload, attempt + 1, enqueued_at, last_error, UTC_TIMESTAMP(6), claimed_at
         FROM jobs FORCE INDEX (claim)
         WHERE queue = ? AND available_at <= UTC_TIMESTAMP(6)
         ORDER BY available_at
         LIMIT ?
         FOR UPDATE SKIP LOCKED",
        (queue, most),
        |row| {
            let (id, payload, attempt, enqueued_at, last_error, claimed_at, before) = row?;
            let utc = |time: NaiveDateTime| time.and_utc();
            let job = Job {
                id,
                payload,
                attempt,
                enqueued_at: utc(enqueued_at),
                claimed_at: utc(claimed_at),
                last_error,
            };
            Ok((job, Option::map(before, utc)))
        },
    )?;
    let jobs: Vec<Claimed> = rows.into_iter().collect::<Result<_, FromRowError>>()?;
    if let Some((first, _)) = jobs.first() {
        transaction.query_drop(format!(
            "UPDATE jobs FORCE INDEX (PRIMARY)
             SET attempt = attempt + 1,
                 claimed_at = '{}',
                 available_at = UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND
             WHERE id IN ({})",
            first.claimed_at.format("%F %T%.6f"),
            microseconds(lease),
            ids(jobs.iter().map(|(job, _)| job))
        ))?;
    }
    Ok(jobs)
}

/// The claims of these jobs that still hold. Their rows are locked, so they hold until the transaction ends.
pub(super) fn lock_held<'j>(
    transaction: &mut Conn,
    jobs: impl IntoIterator<Item = &'j Job>,
) -> Result<HashSet<Claim>, DatabaseError> {
    let held: Vec<Claim> = transaction.query(format!(
        "SELECT id, attempt
         FROM jobs FORCE INDEX (PRIMARY)
         WHERE id IN ({}) AND claimed_at IS NOT NULL
         FOR UPDATE",
        ids(jobs)
    ))?;
    Ok(held.into_iter().collect())
}

/// Ends claimed jobs: deletes them.
pub(super) fn end(transaction: &mut Conn, jobs: &[&Job]) -> Result<(), DatabaseError> {
    let delete = |job: &&Job| format!("DELETE FROM jobs WHERE id = {};", literal(job.id));
    let statements: String = jobs.iter().map(delete).collect();
    Ok(run_all(transaction, &statements)?)
}

/// Releases a claimed job, to be tried again after a pause.
pub(super) fn retry(
    transaction: &mut Conn,
    job: &Job,
    pause: Duration,
    cause: &str,
) -> Result<(), DatabaseError> {
    Ok(transaction.exec_drop(
        "UPDATE jobs
         SET claimed_at = NULL,
             available_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND,
             last_error = LEFT(?, ?)
         WHERE id = ? AND attempt = ?",
        (
            microseconds(pause),
            cause,
            MAX_CAUSE,
            job.id.as_bytes(),
            job.attempt,
        ),
    )?)
}

/// Prolongs the leases of claimed jobs. Returns how many claims were lost.
pub(super) fn prolong(
    connection: &mut Conn,
    claims: &HashSet<Claim>,
    lease: Duration,
) -> Result<u64, DatabaseError> {
    connection.query_drop(format!(
        "UPDATE jobs FORCE INDEX (PRIMARY)
         SET available_at = UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND
         WHERE {} AND claimed_at IS NOT NULL",
        microseconds(lease),
        among(claims)
    ))?;
    Ok((claims.len() as u64).saturating_sub(connection.affected_rows()))
}

/// Releases claimed jobs, to be claimed by others at once. The attempt is not counted, because the worker stops, and no job
/// failed.
pub(super) fn release(connection: &mut Conn, claims: &HashSet<Claim>) -> Result<(), DatabaseError> {
    Ok(connection.query_drop(format!(
        "UPDATE jobs FORCE INDEX (PRIMARY)
         SET attempt = attempt - 1,
             claimed_at = NULL,
             available_at = UTC_TIMESTAMP(6)
         WHERE {} AND claimed_at IS NOT NULL",
        among(claims)
    ))?)
}

/// How many jobs a queue has, and for how many seconds the one that is due longest has been due.
pub(super) fn depth(connection: &mut Conn, queue: &str) -> Result<(i64, i64), DatabaseError> {
    let depth: Option<(i64, Option<i64>)> = connection.exec_first(
        "SELECT COUNT(*), TIMESTAMPDIFF(SECOND, MIN(available_at), UTC_TIMESTAMP(6))
         FROM jobs FORCE INDEX (claim)
         WHERE queue = ?",
        (queue,),
    )?;
    let (jobs, oldest) = depth.unwrap_or_default();
    Ok((jobs, oldest.unwrap_or_default().max(0)))
}

fn ids<'j>(jobs: impl IntoIterator<Item = &'j Job>) -> String {
    let ids = jobs.into_iter().map(|job| literal(job.id));
    ids.collect::<Vec<_>>().join(", ")
}

fn among(claims: &HashSet<Claim>) -> String {
    // Not pairs in a list, for which the index is not always used.
    let each = |(id, attempt): &Claim| format!("id = {} AND attempt = {attempt}", literal(*id));
    let all: Vec<String> = claims.iter().map(each).collect();
    format!("({})", all.join(" OR "))
}

fn literal(id: Uuid) -> String {
    format!("x'{}'", id.simple())
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
