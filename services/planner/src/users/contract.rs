//! The contract of the users' service: what stands behind each path, and what it takes and gives.
#![expect(
    dead_code,
    reason = "only the contract is derived from these functions"
)]

use std::sync::LazyLock;

use foundation_docs::ProblemDocument;
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::answers::{
    Always, WithBody, WithPath, WithQuery, WithRight, WithToken, WithWrite, add_security,
};
use crate::ids::UserId;
use crate::page::Items;
use crate::users::signing_keys::JwkSet;
use crate::users::user::{NewUser, User, UserChange};
use crate::users::wire::{FindParameters, Login, PasswordGrant, Refresh, Sessions, TokenResponse};

/// The contract, in JSON.
pub static CONTRACT: LazyLock<String> =
    LazyLock::new(|| foundation_docs::complete(Contract::openapi()));

#[derive(OpenApi)]
#[openapi(
    info(title = "Planner: users", description = "Who there is, who is logged in, and the keys by which others know that."),
    paths(
        log_in, log_out, refresh, sessions, end_session, create, find, show, show_by_old_name, change, delete, public_keys,
    ),
    modifiers(&ByLogin),
)]
struct Contract;

struct ByLogin;

impl Modify for ByLogin {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let flow = Flow::Password(Password::new("/token", Scopes::new()));
        add_security(
            contract,
            "login",
            SecurityScheme::OAuth2(OAuth2::new([flow])),
        );
    }
}

/// Logs in, with a form or with JSON.
#[utoipa::path(
    post, path = "/token", tag = "sessions",
    request_body(content((Login = "application/json"), (PasswordGrant = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "The tokens of a new session.", body = TokenResponse,
         headers(("RateLimit-Policy" = String, description = "The tighter limit: `q` tries at once, and one more each `w / q` seconds."),
                 ("RateLimit" = String, description = "`r` tries are left now; all are there again in `t` seconds."))),
        (status = 401, description = "Login or password are wrong.", body = ProblemDocument, content_type = "application/problem+json",
         headers(("RateLimit-Policy" = String, description = "The tighter limit: `q` tries at once, and one more each `w / q` seconds."),
                 ("RateLimit" = String, description = "`r` tries are left now; all are there again in `t` seconds."))),
        (status = 429, description = "Too many logins. `Retry-After` says when to try again.", body = ProblemDocument,
         content_type = "application/problem+json",
         headers(("Retry-After" = u64, description = "In seconds."),
                 ("RateLimit-Policy" = String, description = "The limit: `q` tries at once, and one more each `w / q` seconds."),
                 ("RateLimit" = String, description = "No try is left; there is one again in `t` seconds."))),
        WithBody, WithWrite, Always,
    )
)]
fn log_in() {}

/// Logs out: ends the session of the token.
#[utoipa::path(
    delete, path = "/token", tag = "sessions", security(("login" = [])),
    responses((status = 204, description = "It is ended."), WithToken, WithPath, WithWrite, Always)
)]
fn log_out() {}

/// Gives new tokens for a refresh token, once. One that is used again ends its session.
#[utoipa::path(
    post, path = "/token/refresh", tag = "sessions", request_body = Refresh,
    responses((status = 200, description = "New tokens.", body = TokenResponse), WithToken, WithBody, WithWrite, Always)
)]
fn refresh() {}

/// Shows the sessions of the caller.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", security(("login" = [])),
    responses((status = 200, description = "All of them.", body = Sessions), WithToken, Always)
)]
fn sessions() {}

/// Ends a session of the caller.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", security(("login" = [])),
    params(("id" = uuid::Uuid, Path, description = "The session.")),
    responses((status = 204, description = "It is ended."), WithToken, WithPath, WithWrite, Always)
)]
fn end_session() {}

/// Makes a user.
#[utoipa::path(
    post, path = "/users", tag = "users", security(("login" = [])), request_body = NewUser,
    responses(
        (status = 201, description = "The user.", body = User,
         headers(("Location" = String, description = "Its path."), ("ETag" = String, description = "Its version."))),
        (status = 409, description = "The login is taken.", body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithBody, WithWrite, Always,
    )
)]
fn create() {}

/// Searches for users: by login, by masks of their names, or all.
#[utoipa::path(
    get, path = "/users", tag = "users", security(("login" = [])), params(FindParameters),
    responses((status = 200, description = "A page of them.", body = Items<User>), WithToken, WithQuery, Always)
)]
fn find() {}

/// Shows a user, to anybody.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-None-Match" = Option<String>, Header, description = "Versions that are known."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 304, description = "It has one of the versions that are known."),
        WithPath, Always,
    )
)]
fn show() {}

/// Shows a user, to anybody.
#[utoipa::path(
    get, path = "/user/id-{id}", tag = "users",
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-None-Match" = Option<String>, Header, description = "Versions that are known."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 304, description = "It has one of the versions that are known."),
        WithPath, Always,
    )
)]
fn show_by_old_name() {}

/// Changes a user: oneself, or anybody if one is an admin.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", security(("login" = [])), request_body = UserChange,
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-Match" = Option<String>, Header, description = "The version to be changed."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 412, description = "It has another version.", body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithRight, WithPath, WithBody, WithWrite, Always,
    )
)]
fn change() {}

/// Deletes a user: oneself, or anybody if one is an admin.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", security(("login" = [])),
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-Match" = Option<String>, Header, description = "The version to be deleted."),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, description = "It is an admin.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "It has another version.", body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithRight, WithPath, WithWrite, Always,
    )
)]
fn delete() {}

/// Shows the public keys by which tokens are verified.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "The keys.", body = JwkSet))
)]
fn public_keys() {}
