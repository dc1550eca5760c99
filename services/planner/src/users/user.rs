//! Users, as clients create, change and read them.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Error;
use crate::ids::UserId;
use crate::text::{self, MAX_NAME};
use crate::token::Role;

/// Characters of a password. Shorter ones are guessed too soon; longer ones take time to hash, and nobody types them.
pub const PASSWORD_CHARACTERS: RangeInclusive<usize> = 8..=128;

/// A user, as shown to everybody.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name to log in with.
    pub login: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The role.
    pub role: Role,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Grows with each change.
    #[serde(skip)]
    pub version: u64,
}

impl User {
    /// The entity tag of this version (RFC 9110, section 8.8.3).
    #[must_use]
    pub fn etag(version: u64) -> String {
        format!("\"{version}\"")
    }
}

/// A password. It is never shown, not even if a request is logged.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Password")
    }
}

impl Password {
    fn check(&self) -> Result<(), Error> {
        if PASSWORD_CHARACTERS.contains(&self.0.chars().count()) {
            return Ok(());
        }
        let (least, most) = PASSWORD_CHARACTERS.into_inner();
        Err(Error::OutsideLimit(format!(
            "`password` takes {least} to {most} characters."
        )))
    }
}

/// A user to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Letters, digits and any of `. _ @ + -`; beyond ASCII any visible characters. Unique.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x2a\x2c\x2f\x3a-\x3f\x5b-\x5e\x60\x7b-\xa0\xad\u1680\u2000-\u206f\u3000\ufeff]+$",
        example = "ivan"
    )]
    pub login: String,
    /// The password to log in with.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "correct horse")]
    pub password: Password,
    /// The first name.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$",
        example = "Иван"
    )]
    pub first_name: String,
    /// The last name.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$",
        example = "Петров"
    )]
    pub last_name: String,
}

impl NewUser {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        text::check_login(&self.login)?;
        self.password.check()?;
        text::check_line("first_name", &self.first_name, MAX_NAME)?;
        text::check_line("last_name", &self.last_name, MAX_NAME)
    }
}

/// Changes of a user: the fields that are present.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// The first name.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub last_name: Option<String>,
    /// A new password. It ends all sessions of the user, also the one of this request.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, value_type = String, format = Password, min_length = 8, max_length = 128)]
    pub password: Option<Password>,
}

impl UserChange {
    /// Checks the limits of the contract.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(first_name) = &self.first_name {
            text::check_line("first_name", first_name, MAX_NAME)?;
        }
        if let Some(last_name) = &self.last_name {
            text::check_line("last_name", last_name, MAX_NAME)?;
        }
        self.password.as_ref().map_or(Ok(()), Password::check)
    }
}

/// Deserializes a field that may be absent, but not null.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_from_8_to_128_characters() {
        for (length, taken) in [(7, false), (8, true), (128, true), (129, false)] {
            let password = Password("ж".repeat(length));
            assert_eq!(password.check().is_ok(), taken, "{length}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let change = UserChange {
            password: Some(Password("hunter2hunter2".to_owned())),
            ..UserChange::default()
        };
        assert!(!format!("{change:?}").contains("hunter"));
    }
}
