//! The endpoints of the goals' service: what clients send, and what they get.

use std::time::Instant;

use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};

use crate::error::Error;
use crate::goals::contract::CONTRACT;
use crate::goals::goal::{GoalChange, NewGoal, NewTask, TaskChange};
use crate::goals::{Goals, store};
use crate::ids::{GoalId, TaskId};
use crate::page::{Page, PageParameters};
use crate::token::{Caller, bearer};

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

fn caller(goals: &Goals, exchange: &Exchange) -> Result<Caller, Error> {
    goals.keys.verify(bearer(exchange)?)
}

fn goal_id(exchange: &Exchange) -> Result<GoalId, Problem> {
    Ok(GoalId::parse(&exchange.parameter("id")?).ok_or(Error::NO_GOAL)?)
}

fn task_id(exchange: &Exchange) -> Result<TaskId, Problem> {
    Ok(TaskId::parse(&exchange.parameter("task")?).ok_or(Error::NO_TASK)?)
}

fn page(exchange: &Exchange) -> Result<Page, Problem> {
    let asked: PageParameters = exchange.parameters()?;
    Ok(Page::new(asked.limit, asked.after)?)
}

/// `POST /goals`
fn create_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let owner = caller(goals, exchange)?.user;
    let new: NewGoal = exchange.json()?;
    new.check()?;
    let query = move |connection: &mut _| store::create_goal(connection, owner, &new);
    let created = goals.write(exchange.deadline(), query)?;
    let goal = created.ok_or(Error::NotFound("The goal was deleted at once."))?;
    let location = format!("/goals/{}", goal.id);
    Ok(Response::json(&goal)
        .with_status(201)
        .with_header("Location", location))
}

/// `GET /goals`
fn goals(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let page = page(exchange)?;
    let found = goals.read(exchange.deadline(), move |connection| {
        store::goals(connection, page)
    })?;
    Ok(Response::json(&page.of(found, |goal| goal.id.0)))
}

/// `GET /goals/{id}`
fn show_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let query = move |connection: &mut _| store::show_goal(connection, id);
    let found = goals.read(exchange.deadline(), query)?;
    let goal = found.ok_or(Error::NO_GOAL)?;
    Ok(Response::json(&goal))
}

/// `PATCH /goals/{id}`
fn change_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let change: GoalChange = exchange.json()?;
    change.check()?;
    let query = move |connection: &mut _| store::change_goal(connection, id, &caller, change);
    Ok(Response::json(&goals.write(exchange.deadline(), query)??))
}

/// `DELETE /goals/{id}`
fn delete_goal(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let query = move |connection: &mut _| store::delete_goal(connection, id, &caller);
    goals.write(exchange.deadline(), query)??;
    Ok(Response::empty(204))
}

/// `POST /goals/{id}/tasks`
fn create_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let id = goal_id(exchange)?;
    let new: NewTask = exchange.json()?;
    new.check()?;
    let query = move |connection: &mut _| store::create_task(connection, id, &caller, &new);
    let task = goals.write(exchange.deadline(), query)??;
    let location = format!("/goals/{id}/tasks/{}", task.id);
    Ok(Response::json(&task)
        .with_status(201)
        .with_header("Location", location))
}

/// `GET /goals/{id}/tasks`
fn tasks(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, page) = (goal_id(exchange)?, page(exchange)?);
    let query = move |connection: &mut _| store::tasks(connection, id, page);
    let found = goals.read(exchange.deadline(), query)??;
    Ok(Response::json(&page.of(found, |task| task.id.0)))
}

/// `GET /goals/{id}/tasks/{task}`
fn show_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, task) = (goal_id(exchange)?, task_id(exchange)?);
    let query = move |connection: &mut _| store::show_task(connection, id, task);
    let found = goals.read(exchange.deadline(), query)?;
    Ok(Response::json(&found.ok_or(Error::NO_TASK)?))
}

/// `PATCH /goals/{id}/tasks/{task}`
fn change_task(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = caller(goals, exchange)?;
    let (id, task) = (goal_id(exchange)?, task_id(exchange)?);
    let change: TaskChange = exchange.json()?;
    change.check()?;
    let query = move |connection: &mut _| store::change_task(connection, id, task, &caller, change);
    Ok(Response::json(&goals.write(exchange.deadline(), query)??))
}

/// `GET /goals/{id}/tasks/{task}/history`
fn history(goals: &Goals, exchange: &Exchange) -> Result<Response, Problem> {
    caller(goals, exchange)?;
    let (id, task, page) = (goal_id(exchange)?, task_id(exchange)?, page(exchange)?);
    let query = move |connection: &mut _| store::history(connection, id, task, page);
    let found = goals.read(exchange.deadline(), query)??;
    Ok(Response::json(&page.of(found, |step| step.id)))
}
