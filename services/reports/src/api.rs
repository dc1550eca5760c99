//! `reports api`: accepts report requests as tasks, and shows tasks and reports.

mod watcher;
mod wire;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use clap::Parser;
use foundation::config::ServerArgs;
use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::jobs::CHECK_WRITABLE;
use foundation::mysql::{Access, DatabaseError, Pool};
use foundation::service::Failure;
use foundation::telemetry::Registry;
use foundation_docs::ProblemDocument;
use mysql::Conn;
use serde_json::value::RawValue;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::request::{Members, Wanted};
use crate::store::SCHEMA;
use crate::tasks::{self, CancelResult, NewTask, Task, TaskReport, TaskStatus};
use watcher::Watcher;
use wire::{ListQuery, Report, RequestProblem, TaskProblem, Tasks};

/// The API of the reports: accepts tasks, and shows tasks and reports. Any number of APIs may share a database
#[derive(Debug, Parser)]
#[command(mut_arg("listen", |option| option.default_value("127.0.0.1:8000")))]
pub struct Options {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Tasks in a page, unless the client sets `limit`.
const DEFAULT_LIMIT: usize = 20;
/// Most tasks in a page.
const MAX_LIMIT: usize = 100;
/// The longest time that a request is held.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The API as a server.
pub struct ReportApi {
    pool: Pool,
    watcher: Watcher,
}

impl ReportApi {
    /// Opens the database and starts the watcher.
    ///
    /// # Errors
    /// If the database cannot be opened, or the thread cannot be started.
    pub fn start(options: &Options, registry: &Registry) -> Result<Self, Failure> {
        let database = options.server.database.open(&SCHEMA, registry)?;
        let pool = database.pool("api", SCHEMA.connections);
        let request_timeout = options.server.http.request_timeout;
        let watcher = Watcher::start(pool.clone(), request_timeout)
            .map_err(|error| Failure::new(&format!("cannot start the watcher: {error}")))?;
        Ok(Self { pool, watcher })
    }

    fn run<T: Send + 'static>(
        &self,
        access: Access,
        exchange: &Exchange,
        query: impl FnOnce(&mut Conn) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.pool.run(access, exchange.deadline(), query)?)
    }
}

impl Service for ReportApi {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::post("/api/v1/report", Handler::Blocking(ask))
            .with_statuses(&[202, 400, 413, 415, 422, 503, 504]),
        Endpoint::get("/api/v1/tasks", Handler::Blocking(list))
            .with_statuses(&[200, 400, 422, 503]),
        Endpoint::get("/api/v1/tasks/{id}", Handler::Inline(show)).with_statuses(&[200, 404, 503]),
        Endpoint::delete("/api/v1/tasks/{id}", Handler::Blocking(cancel))
            .with_statuses(&[200, 404, 409, 503, 504]),
        Endpoint::get("/api/v1/report/{id}", Handler::Blocking(report))
            .with_statuses(&[200, 404, 409, 503]),
        Endpoint::get("/docs", Handler::Inline(foundation_docs::page)),
        Endpoint::get("/docs/{file}", Handler::Inline(foundation_docs::file)),
    ];

    fn contract() -> Option<&'static str> {
        static CONTRACT: LazyLock<String> =
            LazyLock::new(|| foundation_docs::complete(Contract::openapi()));
        Some(&CONTRACT)
    }

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        Ok(self.pool.check_writable(deadline, CHECK_WRITABLE)?)
    }

    fn observe(&self) {
        self.pool.observe();
    }

    fn stopping(&self) {
        self.watcher.stop();
    }
}

/// Reports over call records: how many calls, how long and how expensive, for each phone.
#[derive(OpenApi)]
#[openapi(paths(ask, show, list, cancel, report))]
struct Contract;

/// Requests a report: stores a task, which a worker claims.
#[utoipa::path(
    post,
    path = "/api/v1/report",
    request_body(content = Wanted, example = json!({ "numbers": [1, 2], "correlation_id": "x" })),
    params((
        "Idempotency-Key" = Option<Uuid>, Header,
        description = "A UUID chosen by the client. A request that is repeated with it returns the same task."
    )),
    responses(
        (status = 202, description = "The task.", body = Task, headers(("Location" = String, description = "Where the task is shown."))),
        (status = 400, description = "The body is not a JSON object, or a member is missing, unknown or of the wrong type: `faults` lists each.", body = RequestProblem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "A limit is exceeded: `faults` lists each; or the key was used for another task.", body = RequestProblem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer. Nothing was stored.", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds."))),
        (status = 504, description = "It is unknown whether the task was stored: repeat the request with the same key.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn ask(reports: &ReportApi, exchange: &Exchange) -> Result<Response, Problem> {
    let members: Members = exchange.json()?;
    let request_id = exchange.idempotency_key()?.unwrap_or_else(Uuid::now_v7);
    let (request, correlation_id) = members.parse()?;
    let new_task = NewTask {
        request_id,
        correlation_id,
        request: serde_json::to_vec(&request).expect("a request can be serialized"),
    };
    let stored = reports.run(Access::Write, exchange, move |connection| {
        tasks::store(connection, &new_task)
    })?;
    let task = stored.ok_or_else(|| {
        let detail = "This Idempotency-Key was used for another report. Draw a new key for each.";
        Problem::new(422, detail)
    })?;
    Ok(Response::json(&task)
        .with_status(202)
        .with_header("Location", format!("/api/v1/tasks/{}", task.task_id)))
}

/// Shows a task.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}",
    params(
        ("id" = Uuid, Path, description = "The task's id."),
        ("Prefer" = Option<String>, Header, description = "With `wait=N` (RFC 7240) the response is held until the task ends, or for N seconds, 60 at most."),
    ),
    responses(
        (status = 200, description = "The task.", body = Task, headers(("Preference-Applied" = Option<String>, description = "`wait=N`, if it was preferred."))),
        (status = 404, description = "There is no such task.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer, or too many requests wait.", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds."))),
    )
)]
fn show(reports: &ReportApi, exchange: Exchange) {
    match task_id(&exchange) {
        Ok(id) => {
            let wait = preferred_wait(exchange.headers("Prefer"));
            reports.watcher.show(id, wait, exchange);
        }
        Err(problem) => exchange.answer(problem),
    }
}

fn task_id(exchange: &Exchange) -> Result<Uuid, Problem> {
    exchange
        .parameter("id")?
        .parse()
        .map_err(|_malformed| not_found())
}

fn not_found() -> Problem {
    Problem::new(
        404,
        "There is no such task. Its id is a UUID, as `POST /api/v1/report` told it.",
    )
}

/// How long the client wants its request held. Preferences that are not understood are ignored (RFC 7240, section 2).
fn preferred_wait<'a>(values: impl Iterator<Item = &'a str>) -> Option<Duration> {
    let mut preferences = values
        .flat_map(|value| value.split([',', ';']))
        .map(str::trim);
    let seconds = preferences.find_map(|preference| {
        let (name, seconds) = preference.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        let seconds = seconds.trim().trim_matches('"');
        let is_number = !seconds.is_empty() && seconds.bytes().all(|digit| digit.is_ascii_digit());
        (is_wait && is_number).then_some(seconds)
    })?;
    // A number that overflows exceeds the maximum as well.
    let wait = seconds.parse().map_or(MAX_WAIT, Duration::from_secs);
    Some(wait.min(MAX_WAIT))
}

/// Lists tasks, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/tasks",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of tasks.", body = Tasks),
        (status = 400, description = "A parameter is unknown, repeated, or not of this form.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`limit` is outside of 1 to 100.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds."))),
    )
)]
fn list(reports: &ReportApi, exchange: &Exchange) -> Result<Response, Problem> {
    let query: ListQuery = exchange.parameters()?;
    let limit = query.limit.as_deref().map_or(Ok(DEFAULT_LIMIT), limit)?;
    let ids = query.correlation_id.map(correlation_ids);
    let ids = ids.unwrap_or_default();
    let list = move |connection: &mut Conn| {
        // One more row shows whether there is another page.
        tasks::list(connection, query.status, &ids, query.after, limit + 1)
    };
    let mut statuses = reports.run(Access::Read, exchange, list)?;
    let is_last = statuses.len() <= limit;
    statuses.truncate(limit);
    let next = statuses
        .last()
        .map(|task| task.task_id)
        .filter(|_| !is_last);
    Ok(Response::json(&Tasks { statuses, next }))
}

fn limit(text: &str) -> Result<usize, Problem> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    match text.parse() {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(Problem::new(
            if is_number { 422 } else { 400 },
            format!("`limit` takes a number from 1 to {MAX_LIMIT}."),
        )),
    }
}

/// The ids that `text` may stand for, in JSON: a string, and a number if it is written like one.
fn correlation_ids(text: String) -> Vec<String> {
    let is_number = text
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == text)
        || text
            .parse::<u64>()
            .is_ok_and(|number| number.to_string() == text);
    let name = serde_json::Value::String(text.clone()).to_string();
    std::iter::once(name)
        .chain(is_number.then_some(text))
        .collect()
}

/// Cancels a task that has not ended.
#[utoipa::path(
    delete,
    path = "/api/v1/tasks/{id}",
    params(("id" = Uuid, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The task is cancelled: no report will be made.", body = Task),
        (status = 404, description = "There is no such task.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The task has ended before; `task_status` shows how.", body = TaskProblem, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds."))),
        (status = 504, description = "It is unknown whether the task was cancelled: the database did not answer.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn cancel(reports: &ReportApi, exchange: &Exchange) -> Result<Response, Problem> {
    let id = task_id(exchange)?;
    match reports.run(Access::Write, exchange, move |connection| {
        tasks::cancel(connection, id)
    })? {
        CancelResult::Cancelled(task) => Ok(Response::json(&task)),
        CancelResult::AlreadyEnded(task) => Err(conflict(
            &task,
            format!("The task has ended: it is `{}`.", task.task_status.name()),
        )),
        CancelResult::NotFound => Err(not_found()),
    }
}

fn conflict(task: &Task, detail: String) -> Problem {
    Problem::new(409, detail).with_member("task_status", task.task_status.name())
}

/// Shows the report of a task.
#[utoipa::path(
    get,
    path = "/api/v1/report/{id}",
    params(("id" = Uuid, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The report.", body = Report),
        (status = 404, description = "There is no such task.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "There is no report, or not yet; `task_status` shows which.", body = TaskProblem, content_type = "application/problem+json", headers(("Retry-After" = Option<u64>, description = "Seconds, while there may be one later."))),
        (status = 503, description = "The database does not answer.", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds."))),
    )
)]
fn report(reports: &ReportApi, exchange: &Exchange) -> Result<Response, Problem> {
    let id = task_id(exchange)?;
    let found = reports.run(Access::Read, exchange, move |connection| {
        tasks::report(connection, id)
    })?;
    let TaskReport {
        task,
        correlation_id,
        report,
    } = found.ok_or_else(not_found)?;
    let Some((figures, total_duration)) = report else {
        return Err(no_report(&task));
    };
    let raw = |json: String| RawValue::from_string(json).expect("it was stored as JSON");
    let queue_wait = task.started.map(|started| started - task.received);
    let queue_wait = queue_wait
        .and_then(|wait| wait.to_std().ok())
        .unwrap_or_default();
    Ok(Response::json(&Report {
        data: &raw(figures),
        total_duration,
        queue_wait: queue_wait.as_secs_f64(),
        received: task.received,
        task_from: "client_api",
        task_to: "client",
        correlation_id: &raw(correlation_id),
    }))
}

fn no_report(task: &Task) -> Problem {
    match task.task_status {
        TaskStatus::Error => {
            let cause = task
                .error_message
                .as_deref()
                .unwrap_or("the cause is not known");
            conflict(
                task,
                format!("The task failed: {cause}. Ask for the report again."),
            )
        }
        TaskStatus::Cancelled => conflict(task, "The task was cancelled.".to_owned()),
        TaskStatus::Pending | TaskStatus::InWork | TaskStatus::Completed => {
            let detail = "The report is not made yet. Look at the task, with `Prefer: wait=10`, until it has ended.";
            conflict(task, detail.to_owned()).with_header("Retry-After", "1")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_as_long_as_it_prefers_up_to_a_minute() {
        for (values, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, Wait = \"7\""], Some(7)),
            (&["respond-async", "wait=0"], Some(0)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999999999999"], Some(60)),
            (&["wait=-1"], None),
            (&["wait=+1"], None),
            (&["wait"], None),
            (&["wait=soon"], None),
            (&["waiting=3"], None),
            (&[], None),
        ] {
            let wait = preferred_wait(values.iter().copied());
            assert_eq!(wait, seconds.map(Duration::from_secs), "{values:?}");
        }
    }

    #[test]
    fn a_name_in_a_query_may_have_been_a_string_or_a_number() {
        let ids = |text: &str| correlation_ids(text.to_owned());
        assert_eq!(ids("x"), ["\"x\""]);
        assert_eq!(ids("-12"), ["\"-12\"", "-12"]);
        assert_eq!(
            ids("18446744073709551615"),
            ["\"18446744073709551615\"", "18446744073709551615"]
        );
        for no_number in ["012", "+1", "1.0", ""] {
            assert_eq!(ids(no_number).len(), 1, "{no_number}");
        }
    }
}
