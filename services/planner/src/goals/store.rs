//! All SQL of the goals' service.

use chrono::NaiveDate;
use foundation::mysql::{DatabaseError, Schema, column, has_relations, time};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Transaction, TxOpts, params};
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::error::Error;
use crate::goals::goal::{Goal, GoalChange, NewGoal, NewTask, Progress, Task, TaskChange};
use crate::goals::status::{Status, Step};
use crate::ids::{GoalId, TaskId, UserId};
use crate::page::Page;
use crate::token::Caller;

/// Connections of the pool that requests share.
pub const CONNECTIONS: u8 = 8;

/// The tables of goals.
pub const SCHEMA: Schema = Schema {
    sql: include_str!("../../schema-goals.sql"),
    is_complete: |connection| has_relations(connection, &["goals", "tasks", "history"]),
    fault: |_| Ok(None),
    connections: CONNECTIONS,
    rights: "grant this user SELECT, INSERT, UPDATE and DELETE on the database; to create what is absent also CREATE and \
             REFERENCES, or create it yourself from schema-goals.sql",
};

type Result<T> = std::result::Result<T, DatabaseError>;
/// Outer error: the database failed. Inner error: the request is refused.
type Outcome<T> = Result<std::result::Result<T, Error>>;

const NOT_OWNER: Error = Error::Forbidden("A goal is changed by its owner or an admin.");
const NOT_ASSIGNEE: Error = Error::Forbidden(
    "A task is changed by the owner of its goal or an admin; its assignee may change the status alone.",
);

fn transaction(connection: &mut Conn) -> Result<Transaction<'_>> {
    Ok(connection.start_transaction(TxOpts::default())?)
}

/// The SELECT of goals, with the columns in the order of `goal_from_row`.
macro_rules! select_goals {
    ($condition:literal) => {
        concat!(
            "SELECT id, owner_id, title, description, due, created_at, todo, in_progress, done, cancelled \
             FROM goals WHERE ",
            $condition
        )
    };
}

fn goal_from_row(mut row: Row) -> Result<Goal> {
    Ok(Goal {
        id: GoalId(column(&mut row, 0)?),
        owner_id: UserId(column(&mut row, 1)?),
        title: column(&mut row, 2)?,
        description: column(&mut row, 3)?,
        due: column::<Option<NaiveDate>>(&mut row, 4)?,
        created_at: time(&mut row, 5)?,
        progress: Progress {
            todo: column(&mut row, 6)?,
            in_progress: column(&mut row, 7)?,
            done: column(&mut row, 8)?,
            cancelled: column(&mut row, 9)?,
        },
    })
}

/// Creates a goal. `None` if it was deleted before it was read back.
pub fn create_goal(connection: &mut Conn, owner: UserId, new: &NewGoal) -> Result<Option<Goal>> {
    connection.exec_drop(
        r"INSERT INTO goals (owner_id, title, description, due, created_at)
          VALUES (:owner, :title, :description, :due, NOW(6))",
        params! {
            owner,
            "title" => &new.title,
            "description" => &new.description,
            "due" => new.due,
        },
    )?;
    let id = GoalId(connection.last_insert_id());
    show_goal(connection, id)
}

/// A goal, if it exists.
pub fn show_goal(connection: &mut Conn, id: GoalId) -> Result<Option<Goal>> {
    let row: Option<Row> = connection.exec_first(select_goals!("id = ?"), (id,))?;
    row.map(goal_from_row).transpose()
}

/// A page of all goals.
pub fn goals(connection: &mut Conn, page: Page) -> Result<Vec<Goal>> {
    let rows: Vec<Row> = connection.exec(
        select_goals!("id > ? ORDER BY id LIMIT ?"),
        (page.after, page.rows_to_fetch()),
    )?;
    rows.into_iter().map(goal_from_row).collect()
}

/// A goal, whose row stays locked until the transaction ends. Every change of a goal or its tasks locks it first.
fn lock_goal(transaction: &mut Transaction<'_>, id: GoalId) -> Result<Option<Goal>> {
    let row: Option<Row> = transaction.exec_first(select_goals!("id = ? FOR UPDATE"), (id,))?;
    row.map(goal_from_row).transpose()
}

/// Locks a goal, if the caller may change it.
fn lock_own_goal(transaction: &mut Transaction<'_>, id: GoalId, caller: &Caller) -> Outcome<Goal> {
    Ok(match lock_goal(transaction, id)? {
        None => Err(Error::NO_GOAL),
        Some(goal) if !caller.is_user_or_admin(goal.owner_id) => Err(NOT_OWNER),
        Some(goal) => Ok(goal),
    })
}

/// Changes a goal.
pub fn change_goal(
    connection: &mut Conn,
    id: GoalId,
    caller: &Caller,
    change: GoalChange,
) -> Outcome<Goal> {
    let mut transaction = transaction(connection)?;
    let mut goal = match lock_own_goal(&mut transaction, id, caller)? {
        Ok(goal) => goal,
        Err(error) => return Ok(Err(error)),
    };
    change.apply(&mut goal);
    transaction.exec_drop(
        r"UPDATE goals
          SET title = :title, description = :description, due = :due
          WHERE id = :id",
        params! {
            "title" => &goal.title,
            "description" => &goal.description,
            "due" => goal.due,
            id,
        },
    )?;
    transaction.commit()?;
    Ok(Ok(goal))
}

/// Deletes a goal with all its tasks.
pub fn delete_goal(connection: &mut Conn, id: GoalId, caller: &Caller) -> Outcome<()> {
    let mut transaction = transaction(connection)?;
    if let Err(error) = lock_own_goal(&mut transaction, id, caller)? {
        return Ok(Err(error));
    }
    transaction.exec_drop("DELETE FROM goals WHERE id = ?", (id,))?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// The SELECT of tasks, with the columns in the order of `task_from_row`.
macro_rules! select_tasks {
    ($condition:literal) => {
        concat!(
            "SELECT id, goal_id, title, description, assignee_id, due, priority, status, created_at \
             FROM tasks WHERE ",
            $condition
        )
    };
}

fn task_from_row(mut row: Row) -> Result<Task> {
    Ok(Task {
        id: TaskId(column(&mut row, 0)?),
        goal_id: GoalId(column(&mut row, 1)?),
        title: column(&mut row, 2)?,
        description: column(&mut row, 3)?,
        assignee_id: column::<Option<u64>>(&mut row, 4)?.map(UserId),
        due: column::<Option<NaiveDate>>(&mut row, 5)?,
        priority: parse_name(&mut row, 6)?,
        status: parse_name(&mut row, 7)?,
        created_at: time(&mut row, 8)?,
    })
}

/// Parses a name in the tables, which is the same as in the contract.
fn parse_name<T: DeserializeOwned>(row: &mut Row, index: usize) -> Result<T> {
    let name: String = column(row, index)?;
    let parsed = T::deserialize(name.as_str().into_deserializer());
    parsed.map_err(|_unknown: serde::de::value::Error| mysql::FromValueError(name.into()).into())
}

/// Creates a task, and counts it in its goal.
pub fn create_task(
    connection: &mut Conn,
    goal: GoalId,
    caller: &Caller,
    new: &NewTask,
) -> Outcome<Task> {
    let mut transaction = transaction(connection)?;
    if let Err(error) = lock_own_goal(&mut transaction, goal, caller)? {
        return Ok(Err(error));
    }
    transaction.exec_drop(
        r"INSERT INTO tasks (goal_id, title, description, assignee_id, due, priority, status, created_at)
          VALUES (:goal, :title, :description, :assignee, :due, :priority, :status, NOW(6))",
        params! {
            goal,
            "title" => &new.title,
            "description" => &new.description,
            "assignee" => new.assignee_id,
            "due" => new.due,
            "priority" => new.priority.name(),
            "status" => Status::Todo.name(),
        },
    )?;
    let id = transaction.last_insert_id().map(TaskId);
    let id = id.ok_or(mysql::DriverError::UnexpectedPacket)?;
    transaction.exec_drop("UPDATE goals SET todo = todo + 1 WHERE id = ?", (goal,))?;
    let created = show_task(&mut transaction, goal, id)?;
    transaction.commit()?;
    Ok(created.ok_or(Error::NO_TASK))
}

/// A task of a goal, if it exists.
pub fn show_task(
    connection: &mut impl Queryable,
    goal: GoalId,
    id: TaskId,
) -> Result<Option<Task>> {
    let select = select_tasks!("id = ? AND goal_id = ?");
    let row: Option<Row> = connection.exec_first(select, (id, goal))?;
    row.map(task_from_row).transpose()
}

/// A page of the tasks of a goal.
pub fn tasks(connection: &mut Conn, goal: GoalId, page: Page) -> Outcome<Vec<Task>> {
    if show_goal(connection, goal)?.is_none() {
        return Ok(Err(Error::NO_GOAL));
    }
    let rows: Vec<Row> = connection.exec(
        select_tasks!("goal_id = ? AND id > ? ORDER BY id LIMIT ?"),
        (goal, page.after, page.rows_to_fetch()),
    )?;
    Ok(Ok(rows
        .into_iter()
        .map(task_from_row)
        .collect::<Result<_>>()?))
}

/// Changes a task. If its status changes, updates the goal's counts and adds to the history.
pub fn change_task(
    connection: &mut Conn,
    goal: GoalId,
    id: TaskId,
    caller: &Caller,
    change: TaskChange,
) -> Outcome<Task> {
    let mut transaction = transaction(connection)?;
    let Some(owner) = lock_goal(&mut transaction, goal)?.map(|goal| goal.owner_id) else {
        return Ok(Err(Error::NO_GOAL));
    };
    // No other transaction changes the task, because the goal is locked.
    let Some(mut task) = show_task(&mut transaction, goal, id)? else {
        return Ok(Err(Error::NO_TASK));
    };
    if let Err(error) = check_change(caller, owner, &task, &change) {
        return Ok(Err(error));
    }
    let from = task.status;
    change.apply(&mut task);
    update_task(&mut transaction, &task)?;
    if task.status != from {
        record_step(&mut transaction, &task, from, caller.user)?;
    }
    transaction.commit()?;
    Ok(Ok(task))
}

/// Checks that the caller may make this change, and that the task's status allows it.
fn check_change(
    caller: &Caller,
    owner: UserId,
    task: &Task,
    change: &TaskChange,
) -> std::result::Result<(), Error> {
    let is_assignee = task.assignee_id == Some(caller.user) && change.changes_only_status();
    if !caller.is_user_or_admin(owner) && !is_assignee {
        return Err(NOT_ASSIGNEE);
    }
    let from = task.status;
    match change.status {
        Some(to) if !from.next().contains(&to) => Err(Error::Transition { from, to }),
        _ => Ok(()),
    }
}

fn update_task(transaction: &mut Transaction<'_>, task: &Task) -> Result<()> {
    Ok(transaction.exec_drop(
        r"UPDATE tasks
          SET
            title = :title,
            description = :description,
            assignee_id = :assignee,
            due = :due,
            priority = :priority,
            status = :status
          WHERE id = :id",
        params! {
            "title" => &task.title,
            "description" => &task.description,
            "assignee" => task.assignee_id,
            "due" => task.due,
            "priority" => task.priority.name(),
            "status" => task.status.name(),
            "id" => task.id,
        },
    )?)
}

fn record_step(
    transaction: &mut Transaction<'_>,
    task: &Task,
    from: Status,
    user: UserId,
) -> Result<()> {
    let to = task.status;
    // The names are columns, and do not come from a client.
    let update = format!("UPDATE goals SET {from} = {from} - 1, {to} = {to} + 1 WHERE id = ?");
    transaction.exec_drop(update, (task.goal_id,))?;
    Ok(transaction.exec_drop(
        r"INSERT INTO history (task_id, user_id, from_status, to_status, changed_at)
          VALUES (:task, :user, :from, :to, NOW(6))",
        params! { "task" => task.id, user, "from" => from.name(), "to" => to.name() },
    )?)
}

/// A page of the status changes of a task.
pub fn history(connection: &mut Conn, goal: GoalId, id: TaskId, page: Page) -> Outcome<Vec<Step>> {
    if show_task(connection, goal, id)?.is_none() {
        return Ok(Err(Error::NO_TASK));
    }
    let rows: Vec<Row> = connection.exec(
        r"SELECT id, user_id, from_status, to_status, changed_at
          FROM history
          WHERE task_id = ? AND id > ?
          ORDER BY id
          LIMIT ?",
        (id, page.after, page.rows_to_fetch()),
    )?;
    Ok(Ok(rows
        .into_iter()
        .map(step_from_row)
        .collect::<Result<_>>()?))
}

fn step_from_row(mut row: Row) -> Result<Step> {
    Ok(Step {
        id: column(&mut row, 0)?,
        user_id: UserId(column(&mut row, 1)?),
        from: parse_name(&mut row, 2)?,
        to: parse_name(&mut row, 3)?,
        changed_at: time(&mut row, 4)?,
    })
}
