//! The contract of the goals' service: what stands behind each path, and what it takes and gives.
#![expect(
    dead_code,
    reason = "only the contract is derived from these functions"
)]

use std::sync::LazyLock;

use foundation_docs::ProblemDocument;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::answers::{
    Always, WithBody, WithPath, WithQuery, WithRight, WithToken, WithWrite, add_security,
};
use crate::goals::goal::{Goal, GoalChange, NewGoal, NewTask, Task, TaskChange};
use crate::goals::status::Step;
use crate::ids::{GoalId, TaskId};
use crate::page::{Items, PageParameters};

/// The contract, in JSON.
pub static CONTRACT: LazyLock<String> =
    LazyLock::new(|| foundation_docs::complete(Contract::openapi()));

#[derive(OpenApi)]
#[openapi(
    info(title = "Planner: goals", description = "What users plan: goals, their tasks, and how far those are."),
    paths(
        create_goal, goals, show_goal, change_goal, delete_goal, create_task, tasks, show_task, change_task, history,
    ),
    modifiers(&ByToken),
)]
struct Contract;

struct ByToken;

impl Modify for ByToken {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token of the users' service."))
            .build();
        add_security(contract, "token", SecurityScheme::Http(scheme));
    }
}

/// Makes a goal of the caller's.
#[utoipa::path(
    post, path = "/goals", tag = "goals", request_body = NewGoal, security(("token" = [])),
    responses(
        (status = 201, description = "The goal.", body = Goal, headers(("Location" = String, description = "Its path."))),
        WithToken, WithBody, WithWrite, Always,
    )
)]
fn create_goal() {}

/// Shows all goals, whosever they are.
#[utoipa::path(
    get, path = "/goals", tag = "goals", params(PageParameters), security(("token" = [])),
    responses((status = 200, description = "A page of them.", body = Items<Goal>), WithToken, WithQuery, Always)
)]
fn goals() {}

/// Shows a goal.
#[utoipa::path(
    get, path = "/goals/{id}", tag = "goals", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 200, description = "The goal.", body = Goal), WithToken, WithPath, Always)
)]
fn show_goal() {}

/// Changes a goal: its owner or an admin.
#[utoipa::path(
    patch, path = "/goals/{id}", tag = "goals", request_body = GoalChange, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 200, description = "The goal.", body = Goal), WithToken, WithRight, WithPath, WithBody, WithWrite, Always)
)]
fn change_goal() {}

/// Deletes a goal with all its tasks: its owner or an admin.
#[utoipa::path(
    delete, path = "/goals/{id}", tag = "goals", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 204, description = "It is deleted."), WithToken, WithRight, WithPath, WithWrite, Always)
)]
fn delete_goal() {}

/// Makes a task of a goal: the goal's owner or an admin.
#[utoipa::path(
    post, path = "/goals/{id}/tasks", tag = "tasks", request_body = NewTask, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses(
        (status = 201, description = "The task.", body = Task, headers(("Location" = String, description = "Its path."))),
        WithToken, WithRight, WithPath, WithBody, WithWrite, Always,
    )
)]
fn create_task() {}

/// Shows the tasks of a goal.
#[utoipa::path(
    get, path = "/goals/{id}/tasks", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), PageParameters),
    responses((status = 200, description = "A page of them.", body = Items<Task>), WithToken, WithPath, WithQuery, Always)
)]
fn tasks() {}

/// Shows a task.
#[utoipa::path(
    get, path = "/goals/{id}/tasks/{task}", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task.")),
    responses((status = 200, description = "The task.", body = Task), WithToken, WithPath, Always)
)]
fn show_task() {}

/// Changes a task: the goal's owner or an admin; the assignee its status alone.
#[utoipa::path(
    patch, path = "/goals/{id}/tasks/{task}", tag = "tasks", request_body = TaskChange, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task.")),
    responses(
        (status = 200, description = "The task.", body = Task),
        (status = 409, description = "Its status does not lead there, or is this one already. `allowed` lists those that are reached.",
         body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithRight, WithPath, WithBody, WithWrite, Always,
    )
)]
fn change_task() {}

/// Shows who changed the status of a task, and when.
#[utoipa::path(
    get, path = "/goals/{id}/tasks/{task}/history", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task."), PageParameters),
    responses((status = 200, description = "A page of it.", body = Items<Step>), WithToken, WithPath, WithQuery, Always)
)]
fn history() {}
