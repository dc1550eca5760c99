//! The endpoints of the goals' service.

use std::sync::LazyLock;
use std::time::Instant;

use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::mysql::Access;
use foundation_docs::ProblemDocument;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::error::Error;
use crate::goals::goal::{Goal, GoalChange, NewGoal, NewTask, Task, TaskChange};
use crate::goals::status::Step;
use crate::goals::{Goals, store};
use crate::ids::{GoalId, TaskId};
use crate::page::{Items, Page, PageParameters};
use crate::responses::{
    self, WithBody, WithDatabase, WithPath, WithPermission, WithQuery, WithToken, WithWrite,
};
use crate::token::{Caller, bearer_token};

impl Service for Goals {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::post("/goals", Handler::Blocking(create_goal)),
        Endpoint::get("/goals", Handler::Blocking(goals)),
        Endpoint::get("/goals/{id}", Handler::Blocking(show_goal)),
        Endpoint::patch("/goals/{id}", Handler::Blocking(change_goal)),
        Endpoint::delete("/goals/{id}", Handler::Blocking(delete_goal)),
        Endpoint::post("/goals/{id}/tasks", Handler::Blocking(create_task)),
        Endpoint::get("/goals/{id}/tasks", Handler::Blocking(tasks)),
        Endpoint::get("/goals/{id}/tasks/{task}", Handler::Blocking(show_task)),
        Endpoint::patch("/goals/{id}/tasks/{task}", Handler::Blocking(change_task)),
        Endpoint::get(
            "/goals/{id}/tasks/{task}/history",
            Handler::Blocking(history),
        ),
        Endpoint::get("/docs", Handler::Inline(foundation_docs::page)),
        Endpoint::get("/docs/{file}", Handler::Inline(foundation_docs::file)),
    ];

    fn contract() -> Option<&'static str> {
        static CONTRACT: LazyLock<String> = LazyLock::new(|| {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("An access token of the users' service."));
            let scheme = SecurityScheme::Http(scheme.build());
            responses::contract(Contract::openapi(), "token", scheme)
        });
        Some(&CONTRACT)
    }

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        self.keys.check()?;
        let update = "UPDATE goals SET todo = todo WHERE id = 0 AND FALSE";
        Ok(self.pool.check_writable(deadline, update)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn finish(self, _deadline: Instant) {
        self.keys.finish();
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Planner: goals",
        description = "Goals, their tasks, and the progress of the tasks."
    ),
    paths(
        create_goal,
        goals,
        show_goal,
        change_goal,
        delete_goal,
        create_task,
        tasks,
        show_task,
        change_task,
        history,
    )
)]
struct Contract;

fn caller(goals: &Goals, exchange: &Exchange) -> Result<Caller, Error> {
    goals.keys.verify(bearer_token(exchange)?)
}

fn goal_id(exchange: &Exchange) -> Result<GoalId, Problem> {
    Ok(GoalId::parse(&exchange.parameter("id")?).ok_or(Error::NO_GOAL)?)
}

fn task_id(exchange: &Exchange) -> Result<TaskId, Problem> {
    Ok(TaskId::parse(&exchange.parameter("task")?).ok_or(Error::NO_TASK)?)
}

fn page(exchange: &Exchange) -> Result<Page, Problem> {
    let parameters: PageParameters = exchange.parameters()?;
    Ok(Page::new(parameters.limit, parameters.after)?)
}

/// Creates a goal, owned by the caller.
#[utoipa::path(
    post, path = "/goals", tag = "goals", request_body = NewGoal, security(("token" = [])),
    responses(
        (status = 201, description = "The goal.", body = Goal, headers(("Location" = String, description = "Its path."))),
        WithToken, WithBody, WithWrite, WithDatabase,
    )
)]
fn create_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let owner = caller(goals, exchange)?.user;
    let new: NewGoal = exchange.json()?;
    new.check()?;
    let query = move |connection: &mut _| store::create_goal(connection, owner, &new);
    let created = goals.run(Access::Write, exchange, query)?;
    let goal = created.ok_or(Error::NotFound("The goal was deleted at once."))?;
    let location = format!("/goals/{}", goal.id);
    Ok(Response::json(&goal)
        .with_status(201)
        .with_header("Location", location))
}

/// Lists the goals of all users.
#[utoipa::path(
    get, path = "/goals", tag = "goals", params(PageParameters), security(("token" = [])),
    responses((status = 200, description = "A page of the list.", body = Items<Goal>), WithToken, WithQuery, WithDatabase)
)]
fn goals(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let page = page(exchange)?;
    let query = move |connection: &mut _| store::goals(connection, page);
    let found = goals.run(Access::Read, exchange, query)?;
    Ok(Response::json(&page.items(found, |goal| goal.id.0)))
}

/// Shows a goal.
#[utoipa::path(
    get, path = "/goals/{id}", tag = "goals", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 200, description = "The goal.", body = Goal), WithToken, WithPath, WithDatabase)
)]
fn show_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let query = move |connection: &mut _| store::show_goal(connection, id);
    let found = goals.run(Access::Read, exchange, query)?;
    let goal = found.ok_or(Error::NO_GOAL)?;
    Ok(Response::json(&goal))
}

/// Changes a goal. Allowed for its owner and admins.
#[utoipa::path(
    patch, path = "/goals/{id}", tag = "goals", request_body = GoalChange, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 200, description = "The goal.", body = Goal),
              WithToken, WithPermission, WithPath, WithBody, WithWrite, WithDatabase)
)]
fn change_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let change: GoalChange = exchange.json()?;
    change.check()?;
    let query = move |connection: &mut _| store::change_goal(connection, id, &caller, change);
    Ok(Response::json(&goals.run(
        Access::Write,
        exchange,
        query,
    )??))
}

/// Deletes a goal with all its tasks. Allowed for its owner and admins.
#[utoipa::path(
    delete, path = "/goals/{id}", tag = "goals", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses((status = 204, description = "It has been deleted."), WithToken, WithPermission, WithPath, WithWrite, WithDatabase)
)]
fn delete_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let query = move |connection: &mut _| store::delete_goal(connection, id, &caller);
    goals.run(Access::Write, exchange, query)??;
    Ok(Response::empty(204))
}

/// Creates a task of a goal. Allowed for the goal's owner and admins.
#[utoipa::path(
    post, path = "/goals/{id}/tasks", tag = "tasks", request_body = NewTask, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal.")),
    responses(
        (status = 201, description = "The task.", body = Task, headers(("Location" = String, description = "Its path."))),
        WithToken, WithPermission, WithPath, WithBody, WithWrite, WithDatabase,
    )
)]
fn create_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let new: NewTask = exchange.json()?;
    new.check()?;
    let query = move |connection: &mut _| store::create_task(connection, id, &caller, &new);
    let task = goals.run(Access::Write, exchange, query)??;
    let location = format!("/goals/{id}/tasks/{}", task.id);
    Ok(Response::json(&task)
        .with_status(201)
        .with_header("Location", location))
}

/// Lists the tasks of a goal.
#[utoipa::path(
    get, path = "/goals/{id}/tasks", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), PageParameters),
    responses((status = 200, description = "A page of the list.", body = Items<Task>),
              WithToken, WithPath, WithQuery, WithDatabase)
)]
fn tasks(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, page) = (goal_id(exchange)?, page(exchange)?);
    let query = move |connection: &mut _| store::tasks(connection, id, page);
    let found = goals.run(Access::Read, exchange, query)??;
    Ok(Response::json(&page.items(found, |task| task.id.0)))
}

/// Shows a task.
#[utoipa::path(
    get, path = "/goals/{id}/tasks/{task}", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task.")),
    responses((status = 200, description = "The task.", body = Task), WithToken, WithPath, WithDatabase)
)]
fn show_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, task) = (goal_id(exchange)?, task_id(exchange)?);
    let query = move |connection: &mut _| store::show_task(connection, id, task);
    let found = goals.run(Access::Read, exchange, query)?;
    Ok(Response::json(&found.ok_or(Error::NO_TASK)?))
}

/// Changes a task. Allowed for the goal's owner and admins; the assignee may change only its status.
#[utoipa::path(
    patch, path = "/goals/{id}/tasks/{task}", tag = "tasks", request_body = TaskChange, security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task.")),
    responses(
        (status = 200, description = "The task.", body = Task),
        (status = 409, description = "The task has this status already, or cannot go to it. `allowed` lists where it can go.",
         body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithPermission, WithPath, WithBody, WithWrite, WithDatabase,
    )
)]
fn change_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let (id, task) = (goal_id(exchange)?, task_id(exchange)?);
    let change: TaskChange = exchange.json()?;
    change.check()?;
    let query = move |connection: &mut _| store::change_task(connection, id, task, &caller, change);
    Ok(Response::json(&goals.run(
        Access::Write,
        exchange,
        query,
    )??))
}

/// Lists who changed the status of a task, and when.
#[utoipa::path(
    get, path = "/goals/{id}/tasks/{task}/history", tag = "tasks", security(("token" = [])),
    params(("id" = GoalId, Path, description = "The goal."), ("task" = TaskId, Path, description = "The task."), PageParameters),
    responses((status = 200, description = "A page of the list.", body = Items<Step>),
              WithToken, WithPath, WithQuery, WithDatabase)
)]
fn history(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, task, page) = (goal_id(exchange)?, task_id(exchange)?, page(exchange)?);
    let query = move |connection: &mut _| store::history(connection, id, task, page);
    let found = goals.run(Access::Read, exchange, query)??;
    Ok(Response::json(&page.items(found, |step| step.id)))
}
