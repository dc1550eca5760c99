//! What can go wrong, and what the client is told.

use foundation::http::Problem;
use foundation::mysql::DatabaseAway;
use foundation::telemetry::Incident;

use crate::goals::status::Status;
use crate::users::login_limits::RateLimitStatus;

/// Why a request failed. The text is for the client: it says what to change, and nothing about the server's internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The form's `grant_type` is not supported.
    #[error("The only `grant_type` taken is `password`.")]
    UnsupportedGrantType,

    /// There is no `Authorization` header with a bearer token.
    #[error("Log in, and send the token as `Authorization: Bearer TOKEN`.")]
    NoToken,

    /// The token is not accepted.
    #[error("The token is not taken: {0}. Log in again.")]
    InvalidToken(TokenError),

    /// The session that the token belongs to was ended.
    #[error("The session of this token has ended. Log in again.")]
    SessionEnded,

    /// Login or password are wrong; the client is not told which.
    #[error("Login or password are wrong.")]
    WrongCredentials,

    /// The refresh token is unknown, expired, or was used before.
    #[error(
        "The refresh token is not taken: it is unknown, over, or was used before. Log in again."
    )]
    InvalidRefreshToken,

    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(&'static str),

    /// There is nothing with this id.
    #[error("{0}")]
    NotFound(&'static str),

    /// Another user has this login.
    #[error("The login is taken. Choose another one.")]
    LoginTaken,

    /// An admin cannot be deleted, because then nobody could do what only an admin may.
    #[error("An admin cannot be deleted.")]
    CannotDeleteAdmin,

    /// The task's status does not allow this transition.
    #[error("A task goes from `{from}` to {}, not to `{to}`.", allowed_names(*from))]
    Transition {
        /// The task's status.
        from: Status,
        /// The status that was asked for.
        to: Status,
    },

    /// `If-Match` names another version.
    #[error("It was changed meanwhile. Read it again, and send its `ETag` as `If-Match`.")]
    VersionMismatch,

    /// A value is outside a limit of the contract.
    #[error("{0}")]
    OutsideLimit(String),

    /// Too many login attempts in too short a time.
    #[error("Too many logins. Try again in {} s.", .0.reset_s)]
    TooManyLogins(RateLimitStatus),

    /// Too many passwords are queued to be checked, or this one was not checked in time.
    #[error("Too many logins are waiting. Try again a little later.")]
    Busy(Incident),

    /// No public key could be fetched yet.
    #[error(
        "The service of users was not reached yet, so this token cannot be checked. Try again later."
    )]
    KeysUnavailable(Incident),

    /// The outcome in the database is unknown.
    #[error(
        "The database does not answer. It is not known whether this was done: look before you send it again."
    )]
    OutcomeUnknown(Incident),

    /// It is unknown whether a session was begun or its refresh token replaced. The client cannot look it up.
    #[error(
        "The database does not answer. It is not known whether this was done, and a refresh token is taken once. Log in again."
    )]
    LoginOutcomeUnknown(Incident),
}

fn allowed_names(from: Status) -> String {
    let names: Vec<_> = from.next().iter().map(|next| format!("`{next}`")).collect();
    names.join(" or ")
}

impl Error {
    /// There is no such user.
    pub const NO_USER: Self = Self::NotFound("There is no user of this id.");
    /// There is no such session.
    pub const NO_SESSION: Self = Self::NotFound("There is no session of yours of this id.");
    /// There is no such goal.
    pub const NO_GOAL: Self = Self::NotFound("There is no goal of this id.");
    /// There is no such task.
    pub const NO_TASK: Self = Self::NotFound("There is no task of this id in this goal.");

    /// The HTTP status, and the incident in the log if the cause lies with the server.
    #[must_use]
    pub fn status(&self) -> (u16, Option<Incident>) {
        match *self {
            Self::UnsupportedGrantType => (400, None),
            Self::NoToken
            | Self::InvalidToken(_)
            | Self::SessionEnded
            | Self::WrongCredentials
            | Self::InvalidRefreshToken => (401, None),
            Self::Forbidden(_) => (403, None),
            Self::NotFound(_) => (404, None),
            Self::LoginTaken | Self::CannotDeleteAdmin | Self::Transition { .. } => (409, None),
            Self::VersionMismatch => (412, None),
            Self::OutsideLimit(_) => (422, None),
            Self::TooManyLogins(_) => (429, None),
            Self::Busy(incident) | Self::KeysUnavailable(incident) => (503, Some(incident)),
            Self::OutcomeUnknown(incident) | Self::LoginOutcomeUnknown(incident) => {
                (504, Some(incident))
            }
        }
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a JSON Web Token with the fields that this service's tokens have.
    #[error("it is no access token of this service")]
    Malformed,
    /// It has another algorithm or type, or critical extensions.
    #[error("it is of another kind than `at+jwt` with `EdDSA`")]
    Kind,
    /// Its key is unknown.
    #[error("it names a key that is not known")]
    UnknownKey,
    /// The signature does not verify.
    #[error("its signature is wrong")]
    Signature,
    /// Its issuer or audience is another one.
    #[error("it is for another service")]
    Audience,
    /// It has expired.
    #[error("its time is over")]
    Expired,
    /// It is not valid yet.
    #[error("its time is yet to come")]
    NotYetValid,
}

/// The problem for a failed database call: `unknown` if the outcome is unknown.
pub(crate) fn database_problem(away: DatabaseAway, unknown: fn(Incident) -> Error) -> Problem {
    if away.outcome_unknown {
        unknown(away.incident).into()
    } else {
        away.into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, incident) = error.status();
        let problem = Self::new(status, error.to_string()).with_incident(incident);
        match error {
            // RFC 6750, section 3.
            Error::InvalidToken(_) | Error::SessionEnded => problem.with_header(
                "WWW-Authenticate",
                r#"Bearer realm="planner", error="invalid_token""#,
            ),
            Error::NoToken | Error::WrongCredentials | Error::InvalidRefreshToken => {
                problem.with_header("WWW-Authenticate", r#"Bearer realm="planner""#)
            }
            Error::TooManyLogins(refused) => {
                let [policy, remaining] = refused.headers();
                problem
                    .with_header("Retry-After", refused.reset_s.to_string())
                    .with_header(policy.0, policy.1)
                    .with_header(remaining.0, remaining.1)
            }
            Error::Transition { from, .. } => {
                let allowed: Vec<_> = from.next().iter().map(ToString::to_string).collect();
                problem.with_member("allowed", allowed)
            }
            _ => problem,
        }
    }
}
