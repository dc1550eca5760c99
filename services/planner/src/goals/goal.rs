//! Goals and tasks, as clients create, change and read them.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::error::Error;
use crate::goals::status::{Priority, Status};
use crate::ids::{GoalId, TaskId, UserId};
use crate::text::{self, MAX_DESCRIPTION, MAX_TITLE};

/// The number of a goal's tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Progress {
    /// Tasks not begun.
    pub todo: u32,
    /// Tasks in progress.
    pub in_progress: u32,
    /// Tasks done.
    pub done: u32,
    /// Tasks that will not be done.
    pub cancelled: u32,
}

/// A goal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Goal {
    /// The id.
    pub id: GoalId,
    /// The user who created it.
    pub owner_id: UserId,
    /// What to achieve.
    pub title: String,
    /// Any text.
    #[schema(required = true)]
    pub description: Option<String>,
    /// The due date.
    #[schema(required = true)]
    pub due: Option<NaiveDate>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The number of its tasks by status.
    pub progress: Progress,
}

/// A goal to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGoal {
    /// What to achieve.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$",
        example = "Learn to swim"
    )]
    pub title: String,
    /// Any text.
    #[schema(max_length = 4096)]
    pub description: Option<String>,
    /// The due date.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, format = Date, pattern = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$")]
    pub due: Option<NaiveDate>,
}

impl NewGoal {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        check(Some(&self.title), self.description.as_ref())
    }
}

/// Changes of a goal: the fields that are present. `null` removes an optional value.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalChange {
    /// What to achieve.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub title: Option<String>,
    /// Any text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub description: Option<Option<String>>,
    /// The due date.
    #[serde(default, deserialize_with = "present_day")]
    #[schema(value_type = Option<String>, format = Date, pattern = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$")]
    pub due: Option<Option<NaiveDate>>,
}

impl GoalChange {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        let description = self.description.as_ref().and_then(Option::as_ref);
        check(self.title.as_ref(), description)
    }

    /// Applies the change.
    pub fn apply(self, goal: &mut Goal) {
        set(&mut goal.title, self.title);
        set(&mut goal.description, self.description);
        set(&mut goal.due, self.due);
    }
}

/// A task of a goal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Task {
    /// The id.
    pub id: TaskId,
    /// Its goal.
    pub goal_id: GoalId,
    /// What to do.
    pub title: String,
    /// Any text.
    #[schema(required = true)]
    pub description: Option<String>,
    /// The user who is to do it.
    #[schema(required = true)]
    pub assignee_id: Option<UserId>,
    /// The due date.
    #[schema(required = true)]
    pub due: Option<NaiveDate>,
    /// The priority.
    pub priority: Priority,
    /// The status.
    pub status: Status,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A task to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What to do.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$",
        example = "Find a pool"
    )]
    pub title: String,
    /// Any text.
    #[schema(max_length = 4096)]
    pub description: Option<String>,
    /// The user who is to do it.
    #[serde(default, deserialize_with = "user")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991.0)]
    pub assignee_id: Option<UserId>,
    /// The due date.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, format = Date, pattern = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$")]
    pub due: Option<NaiveDate>,
    /// The priority; `normal` by default.
    #[serde(default, deserialize_with = "name")]
    pub priority: Priority,
}

impl NewTask {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        check(Some(&self.title), self.description.as_ref())
    }
}

/// Changes of a task: the fields that are present. `null` removes an optional value.
#[derive(Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskChange {
    /// What to do.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub title: Option<String>,
    /// Any text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub description: Option<Option<String>>,
    /// The user who is to do it.
    #[serde(default, deserialize_with = "present_user")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991.0)]
    pub assignee_id: Option<Option<UserId>>,
    /// The due date.
    #[serde(default, deserialize_with = "present_day")]
    #[schema(value_type = Option<String>, format = Date, pattern = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$")]
    pub due: Option<Option<NaiveDate>>,
    /// The priority.
    #[serde(default, deserialize_with = "present_name")]
    #[schema(value_type = Priority, required = false)]
    pub priority: Option<Priority>,
    /// The status. The assignee may change only this field.
    #[serde(default, deserialize_with = "present_name")]
    #[schema(value_type = Status, required = false)]
    pub status: Option<Status>,
}

impl TaskChange {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        let description = self.description.as_ref().and_then(Option::as_ref);
        check(self.title.as_ref(), description)
    }

    /// Whether it changes nothing but the status.
    #[must_use]
    pub fn changes_only_status(&self) -> bool {
        let only_status = Self {
            status: self.status,
            ..Self::default()
        };
        *self == only_status
    }

    /// Applies the change.
    pub fn apply(self, task: &mut Task) {
        set(&mut task.title, self.title);
        set(&mut task.description, self.description);
        set(&mut task.assignee_id, self.assignee_id);
        set(&mut task.due, self.due);
        set(&mut task.priority, self.priority);
        set(&mut task.status, self.status);
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn check(title: Option<&String>, description: Option<&String>) -> Result<(), Error> {
    if let Some(title) = title {
        text::check_line("title", title, MAX_TITLE)?;
    }
    if let Some(description) = description {
        text::check_text("description", description, MAX_DESCRIPTION)?;
    }
    Ok(())
}

/// Deserializes a field that is present; serde's default stands for one that is absent, which is not changed.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// Deserializes a variant by its name. For null, `serde_json` by itself would only say that it expected a value.
fn name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    let name = String::deserialize(field)?;
    T::deserialize(name.into_deserializer())
}

fn present_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    name(field).map(Some)
}

/// Deserializes a date in the form of RFC 3339. By itself, chrono accepts years of five digits, which the database does not.
fn day<'de, D: Deserializer<'de>>(field: D) -> Result<Option<NaiveDate>, D::Error> {
    let text: Option<String> = Option::deserialize(field)?;
    let Some(text) = text else { return Ok(None) };
    let is_canonical = |day: &NaiveDate| day.to_string() == text;
    let day = text.parse().ok().filter(is_canonical);
    // The years that the database supports.
    let day = day.filter(|day| (1000..=9999).contains(&day.year()));
    let error = || {
        serde::de::Error::custom(
            "it takes a day from 1000-01-01 to 9999-12-31, written as in 2026-01-31",
        )
    };
    day.map(Some).ok_or_else(error)
}

#[expect(clippy::option_option, reason = "absent, null, or a day")]
fn present_day<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<NaiveDate>>, D::Error> {
    day(field).map(Some)
}

/// The largest integer that every JSON parser reads exactly (RFC 8259, section 6).
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Deserializes the id of a user. In JSON, 1.0 is the same as 1.
fn user<'de, D: Deserializer<'de>>(field: D) -> Result<Option<UserId>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(field)? else {
        return Ok(None);
    };
    if number.fract() != 0.0 || !(1.0..=MAX_SAFE_INTEGER).contains(&number) {
        let detail = format!("it takes the whole number of a user, 1 to {MAX_SAFE_INTEGER}");
        return Err(serde::de::Error::custom(detail));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked above"
    )]
    Ok(Some(UserId(number as u64)))
}

#[expect(clippy::option_option, reason = "absent, null, or a user")]
fn present_user<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<UserId>>, D::Error> {
    user(field).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_absent_stays_and_null_takes_it_away() {
        let change = |json| serde_json::from_value::<TaskChange>(json);
        let absent = change(json!({})).expect("nothing is a change");
        assert!(absent.due.is_none() && absent.changes_only_status());
        let away = change(json!({ "due": null, "assignee_id": null })).expect("it may");
        assert_eq!((away.due, away.assignee_id), (Some(None), Some(None)));
        for refused in [
            json!({ "title": null }),
            json!({ "status": null }),
            json!({ "x": 1 }),
        ] {
            assert!(change(refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_day_is_one_of_the_calendar_in_ten_characters() {
        let read =
            |due: &str| serde_json::from_value::<NewGoal>(json!({ "title": "x", "due": due }));
        for (due, taken) in [
            ("2028-02-29", true),
            ("9999-12-31", true),
            ("2026-02-29", false),
            ("1000-01-01", true),
            ("0999-12-31", false),
            ("+10000-1-1", false),
            ("2026-2-1", false),
            ("2026-01-01T00:00:00Z", false),
        ] {
            assert_eq!(read(due).is_ok(), taken, "{due}");
        }
    }

    #[test]
    fn a_user_is_a_whole_number_however_it_is_written() {
        let read = |id: &str| {
            let task = format!(r#"{{"title":"x","assignee_id":{id}}}"#);
            serde_json::from_str::<NewTask>(&task)
                .ok()
                .map(|task| task.assignee_id)
        };
        for (id, taken) in [
            ("1", Some(Some(UserId(1)))),
            ("2.0", Some(Some(UserId(2)))),
            ("null", Some(None)),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            (
                "9007199254740991",
                Some(Some(UserId(9_007_199_254_740_991))),
            ),
            ("9007199254740993", None),
            ("\"1\"", None),
        ] {
            assert_eq!(read(id), taken, "{id}");
        }
    }
}
