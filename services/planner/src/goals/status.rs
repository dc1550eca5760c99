//! The status of a task, and from which to which it goes.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has begun it.
    Todo,
    /// Somebody works on it.
    InProgress,
    /// It is done.
    Done,
    /// It will not be done.
    Cancelled,
}

impl Status {
    /// Where a task of this status may go.
    #[must_use]
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Todo | Self::Done => &[Self::InProgress, Self::Cancelled],
            Self::InProgress => &[Self::Todo, Self::Done, Self::Cancelled],
            Self::Cancelled => &[Self::Todo],
        }
    }

    /// Its name: in the contract, in the tables, and of the column that counts it.
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

/// What has to be done first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else is left.
    Low,
    /// In its turn.
    #[default]
    Normal,
    /// Before the others.
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
    /// Its number.
    pub id: u64,
    /// Who changed it.
    pub user_id: UserId,
    /// When.
    pub changed_at: DateTime<Utc>,
    /// The status before.
    pub from: Status,
    /// The status after.
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
