//! The status of a task, and its transitions.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Todo,
    /// In progress.
    InProgress,
    /// Done.
    Done,
    /// Will not be done.
    Cancelled,
}

impl Status {
    /// The statuses that a task of this status may go to.
    #[must_use]
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Todo | Self::Done => &[Self::InProgress, Self::Cancelled],
            Self::InProgress => &[Self::Todo, Self::Done, Self::Cancelled],
            Self::Cancelled => &[Self::Todo],
        }
    }

    /// Its name in the contract and in the tables, and the name of the column that counts it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// The priority of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After all others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    /// Its name in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// A change of a task's status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Step {
    /// The id.
    pub id: u64,
    /// The user who changed it.
    pub user_id: UserId,
    /// When it was changed.
    pub changed_at: DateTime<Utc>,
    /// The previous status.
    pub from: Status,
    /// The new status.
    pub to: Status,
}

#[cfg(test)]
mod tests {
    use Status::{Cancelled, Done, InProgress, Todo};

    use super::*;

    const ALL: [Status; 4] = [Todo, InProgress, Done, Cancelled];

    #[test]
    fn a_task_goes_forth_and_back_by_one_and_is_cancelled_and_taken_up_again() {
        for from in ALL {
            for to in ALL {
                let allowed = matches!(
                    (from, to),
                    (Todo | Done, InProgress)
                        | (InProgress | Cancelled, Todo)
                        | (InProgress, Done)
                        | (Todo | InProgress | Done, Cancelled)
                );
                assert_eq!(from.next().contains(&to), allowed, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_name_in_the_tables_is_the_one_of_the_contract() {
        for status in ALL {
            assert_eq!(
                serde_json::to_value(status).ok(),
                Some(status.name().into())
            );
        }
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            assert_eq!(
                serde_json::to_value(priority).ok(),
                Some(priority.name().into())
            );
        }
    }
}
