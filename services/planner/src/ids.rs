//! The ids of what is stored, as types.

use std::fmt;

use mysql::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Error;

/// Makes a type of an id: a number that the database gave, 1 or more.
macro_rules! id {
    ($(#[doc = $meaning:literal])* $name:ident, $absent:literal) => {
        $(#[doc = $meaning])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(example = 1)]
        pub struct $name(pub u64);

        impl $name {
            /// Reads the id in a path.
            ///
            /// # Errors
            /// [`Error::NotFound`] if it is no number, as nothing has such an id.
            pub fn parse(text: &str) -> Result<Self, Error> {
                // `parse` alone would take a sign.
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let id = text.parse().ok().filter(|_| digits);
                id.map(Self).ok_or(Error::NotFound($absent))
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
    UserId, "There is no user of this id."
}
id! {
    /// The id of a goal.
    GoalId, "There is no goal of this id."
}
id! {
    /// The id of a task.
    TaskId, "There is no task of this id in this goal."
}
