//! Requests and responses of the users' service, besides the users themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::users::user::Password;

/// A login by the password grant of OAuth 2.0 (RFC 6749, section 4.3.2), as Swagger UI sends it. Other fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PasswordGrant {
    #[schema(pattern = "^password$")]
    pub(super) grant_type: Option<String>,
    pub(super) username: String,
    pub(super) password: Password,
}

/// A login in JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[schema(example = "admin")]
    pub(super) login: String,
    #[schema(value_type = String, format = Password, example = "secret")]
    pub(super) password: Password,
}

/// An access token, and the refresh token to use when it expires (RFC 6749, section 5.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenResponse {
    pub(super) access_token: String,
    /// `bearer`
    pub(super) token_type: &'static str,
    /// How long the access token is valid, in seconds.
    pub(super) expires_in: u64,
    /// Accepted once.
    pub(super) refresh_token: String,
}

/// A request for new tokens.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    pub(super) refresh_token: String,
}

/// A session, which begins with a login.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    pub(super) id: Uuid,
    /// When the user logged in.
    pub(super) created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub(super) refreshed_at: DateTime<Utc>,
    /// When it expires, unless it is refreshed.
    pub(super) expires_at: DateTime<Utc>,
    /// Whether it is the session of this request.
    pub(super) current: bool,
}

/// The sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// All sessions, at most 100, newest first.
    pub(super) items: Vec<Session>,
}

/// Query parameters of a search for users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FindParameters {
    /// The exact login.
    pub(super) login: Option<String>,
    /// A mask: `*` matches any characters, `?` matches one, all others match themselves in any case. A mask that begins with
    /// `*` or `?` needs at least two other characters.
    #[param(
        min_length = 1,
        max_length = 64,
        pattern = r"^([^*?][\s\S]*|[*?]+[^*?][*?]*[^*?][\s\S]*)$",
        example = "Iv*"
    )]
    pub(super) first_name: Option<String>,
    /// A mask, like `first_name`.
    #[param(
        min_length = 1,
        max_length = 64,
        pattern = r"^([^*?][\s\S]*|[*?]+[^*?][*?]*[^*?][\s\S]*)$"
    )]
    pub(super) last_name: Option<String>,
    /// The most users to show; 50 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(super) limit: Option<u64>,
    /// Only users with a larger id: `next` of the previous page.
    pub(super) after: Option<u64>,
}
