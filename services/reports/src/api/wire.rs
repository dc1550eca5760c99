//! The JSON and query types of the API, except tasks, figures and the body of a report request.

use chrono::{DateTime, Utc};
use foundation_docs::ProblemDocument;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

use crate::figures::PhoneFigures;
use crate::request::{CorrelationId, Fault};
use crate::tasks::{Task, TaskStatus};

/// The filters and the page of `GET /api/v1/tasks`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only tasks with this status.
    #[serde(default, deserialize_with = "non_empty")]
    #[param(schema_with = status, required = false)]
    pub(super) status: Option<TaskStatus>,
    /// Only tasks with this correlation id, which may be a string or a number.
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) correlation_id: Option<String>,
    /// The maximum number of tasks in the page, 1 to 100; 20 by default.
    #[serde(default, deserialize_with = "non_empty")]
    #[param(schema_with = limit, required = false)]
    pub(super) limit: Option<String>,
    /// Only tasks older than this one: `next` of the previous page.
    #[serde(default, deserialize_with = "non_empty")]
    #[param(schema_with = after, required = false)]
    pub(super) after: Option<Uuid>,
}

fn status() -> Schema {
    let meaning = "Only tasks with this status.";
    or_empty(TaskStatus::schema(), meaning)
}

fn limit() -> Schema {
    let limit = ObjectBuilder::new().schema_type(Type::Integer);
    let limit = limit.minimum(Some(1)).maximum(Some(100));
    or_empty(
        limit,
        "The maximum number of tasks in the page, 1 to 100; 20 by default.",
    )
}

fn after() -> Schema {
    let id = ObjectBuilder::new().schema_type(Type::String);
    let id = id.format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let meaning = "Only tasks older than this one: `next` of the previous page.";
    or_empty(id, meaning)
}

fn or_empty(schema: impl Into<RefOr<Schema>>, meaning: &str) -> Schema {
    let empty = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(0));
    let either = AnyOfBuilder::new().item(schema).item(empty);
    either.description(Some(meaning)).into()
}

/// Parses a parameter. An empty one counts as absent, because forms send fields that are not filled in as empty.
fn non_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(text.into_deserializer()).map(Some)
}

/// A problem that lists the faults of a request (RFC 9457, section 3.2).
#[derive(ToSchema)]
#[schema(as = ProblemOfRequest)]
#[expect(dead_code, reason = "only the contract is derived from it")]
pub(super) struct RequestProblem {
    #[schema(inline)]
    #[serde(flatten)]
    problem: ProblemDocument,
    /// Each fault of the body; absent if the body as a whole cannot be read.
    #[schema(nullable = false)]
    faults: Option<Vec<Fault>>,
}

/// A problem that shows the status of a task.
#[derive(ToSchema)]
#[schema(as = ProblemOfTask)]
#[expect(dead_code, reason = "only the contract is derived from it")]
pub(super) struct TaskProblem {
    #[schema(inline)]
    #[serde(flatten)]
    problem: ProblemDocument,
    /// The status of the task.
    task_status: TaskStatus,
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tasks {
    /// The tasks, newest first.
    pub(super) statuses: Vec<Task>,
    /// What to send as `after` for the next page; null on the last.
    #[schema(required)]
    pub(super) next: Option<Uuid>,
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report<'a> {
    /// The figures of each phone, in the order of the request.
    #[schema(value_type = Vec<PhoneFigures>)]
    pub(super) data: &'a RawValue,
    /// Seconds that the worker took to compute the figures.
    pub(super) total_duration: f64,
    /// Seconds that the task waited for a worker.
    pub(super) queue_wait: f64,
    /// When the task was received.
    pub(super) received: DateTime<Utc>,
    /// Always `client_api`.
    pub(super) task_from: &'static str,
    /// Always `client`.
    pub(super) task_to: &'static str,
    /// As the request gave it.
    #[schema(value_type = Option<CorrelationId>, required)]
    pub(super) correlation_id: &'a RawValue,
}
