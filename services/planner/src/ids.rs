//! Types for the ids of users, goals and tasks.

use std::fmt;

use mysql::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Defines an id type: a number that the database assigned, 1 or more.
macro_rules! id {
    ($(#[doc = $meaning:literal])* $name:ident) => {
        $(#[doc = $meaning])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(example = 1)]
        pub struct $name(pub u64);

        impl $name {
            /// Parses the id in a path. `None` if it is not a number, as no id is.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                // `parse` alone would accept a plus sign.
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| digits).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(to)
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    };
}

id! {
    /// The id of a user.
    UserId
}
id! {
    /// The id of a goal.
    GoalId
}
id! {
    /// The id of a task.
    TaskId
}
