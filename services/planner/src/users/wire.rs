//! What clients of the users' service send and get, beside the users themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::users::user::Password;

/// A login as OAuth 2.0 has it (RFC 6749, section 4.3.2), and as Swagger UI sends it; other fields are not looked at.
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

/// What a client sends with all requests, and comes back with when it is over (RFC 6749, section 5.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenResponse {
    pub(super) access_token: String,
    /// `bearer`
    pub(super) token_type: &'static str,
    /// How long the access token lasts, in seconds.
    pub(super) expires_in: u64,
    /// Is taken once.
    pub(super) refresh_token: String,
}

/// What a refresh takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    pub(super) refresh_token: String,
}

/// A login that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    pub(super) id: Uuid,
    /// When the login was.
    pub(super) created_at: DateTime<Utc>,
    /// When its refresh token was used last.
    pub(super) refreshed_at: DateTime<Utc>,
    /// When it ends, unless its refresh token is used.
    pub(super) expires_at: DateTime<Utc>,
    /// Whether it is the one of this request.
    pub(super) current: bool,
}

/// The sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// All of them, 100 at most, the newest first.
    pub(super) items: Vec<Session>,
}

/// Which users are searched for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FindParameters {
    /// Exactly this login.
    pub(super) login: Option<String>,
    /// A mask: `*` stands for any characters, `?` for one, all else for itself in any case. Without a beginning, as in `*ov`,
    /// it has at least two other characters.
    #[param(
        min_length = 1,
        max_length = 64,
        pattern = r"^([^*?][\s\S]*|[*?]+[^*?][*?]*[^*?][\s\S]*)$",
        example = "Iv*"
    )]
    pub(super) first_name: Option<String>,
    /// A mask, as `first_name`.
    #[param(
        min_length = 1,
        max_length = 64,
        pattern = r"^([^*?][\s\S]*|[*?]+[^*?][*?]*[^*?][\s\S]*)$"
    )]
    pub(super) last_name: Option<String>,
    /// Most users to show; 50 if it is absent.
    #[param(minimum = 1, maximum = 100)]
    pub(super) limit: Option<u64>,
    /// Only users with a larger id: `next` of the page before.
    pub(super) after: Option<u64>,
}
