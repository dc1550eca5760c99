//! What stands on the wire beside tasks, figures and what is asked for.

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
use crate::request::{CorrelationId, Refused};
use crate::tasks::{Task, TaskStatus};

/// Which tasks are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Tasks of this status only.
    #[serde(default, deserialize_with = "unless_empty")]
    #[param(schema_with = status, required = false)]
    pub(super) status: Option<TaskStatus>,
    /// Tasks of this name only, be it a string or a number.
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) correlation_id: Option<String>,
    /// Most tasks, 1 to 100; else 20.
    #[serde(default, deserialize_with = "unless_empty")]
    #[param(schema_with = limit, required = false)]
    pub(super) limit: Option<String>,
    /// Tasks that are older than this one: `next` of the page before.
    #[serde(default, deserialize_with = "unless_empty")]
    #[param(schema_with = after, required = false)]
    pub(super) after: Option<Uuid>,
}

fn status() -> Schema {
    let meaning = "Tasks of this status only.";
    or_empty(TaskStatus::schema(), meaning)
}

fn limit() -> Schema {
    let limit = ObjectBuilder::new().schema_type(Type::Integer);
    let limit = limit.minimum(Some(1)).maximum(Some(100));
    or_empty(limit, "Most tasks, 1 to 100; else 20.")
}

fn after() -> Schema {
    let id = ObjectBuilder::new().schema_type(Type::String);
    let id = id.format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let meaning = "Tasks that are older than this one: `next` of the page before.";
    or_empty(id, meaning)
}

fn or_empty(schema: impl Into<RefOr<Schema>>, meaning: &str) -> Schema {
    let empty = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(0));
    let either = AnyOfBuilder::new().item(schema).item(empty);
    either.description(Some(meaning)).into()
}

/// Reads a parameter; an empty one is none, as forms send those that are not filled in.
fn unless_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(text.into_deserializer()).map(Some)
}

/// A problem that tells faults of a request one by one (RFC 9457, section 3.2).
#[derive(ToSchema)]
#[schema(as = ProblemOfRequest)]
#[expect(dead_code, reason = "only the contract is derived from it")]
pub(super) struct RequestProblem {
    #[schema(inline)]
    #[serde(flatten)]
    problem: ProblemDocument,
    /// Each thing that cannot be taken; absent where the body as a whole cannot.
    #[schema(nullable = false)]
    faults: Option<Vec<Refused>>,
}

/// A problem that tells how a task stands.
#[derive(ToSchema)]
#[schema(as = ProblemOfTask)]
#[expect(dead_code, reason = "only the contract is derived from it")]
pub(super) struct TaskProblem {
    #[schema(inline)]
    #[serde(flatten)]
    problem: ProblemDocument,
    /// How the task stands.
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
    /// The figures of each phone, in the order in which they were asked for.
    #[schema(value_type = Vec<PhoneFigures>)]
    pub(super) data: &'a RawValue,
    /// Seconds that the worker took.
    pub(super) total_duration: f64,
    /// Seconds that the task waited for a worker.
    pub(super) queue_wait: f64,
    /// When it was asked for.
    pub(super) received: DateTime<Utc>,
    /// `client_api`
    pub(super) task_from: &'static str,
    /// `client`
    pub(super) task_to: &'static str,
    /// As it was given.
    #[schema(value_type = Option<CorrelationId>, required)]
    pub(super) correlation_id: &'a RawValue,
}
