//! The endpoints of the users' service.

use std::sync::LazyLock;
use std::time::Instant;

use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::mysql::Access;
use foundation_docs::ProblemDocument;
use utoipa::OpenApi;
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use uuid::Uuid;

use crate::error::Error;
use crate::ids::UserId;
use crate::page::{Items, Page};
use crate::responses::{
    self, WithBody, WithDatabase, WithPath, WithPermission, WithQuery, WithToken, WithWrite,
};
use crate::token::now;
use crate::users::Users;
use crate::users::cache::{CachedUser, DELETED};
use crate::users::mask::Mask;
use crate::users::signing_keys::JwkSet;
use crate::users::store::{self, Search};
use crate::users::user::{NewUser, User, UserChange};
use crate::users::wire::{FindParameters, Login, PasswordGrant, Refresh, Sessions, TokenResponse};

impl Service for Users {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::post("/token", Handler::Blocking(log_in)).with_statuses(&[200, 401, 429, 503]),
        Endpoint::delete("/token", Handler::Blocking(log_out)),
        Endpoint::post("/token/refresh", Handler::Blocking(refresh)).with_statuses(&[200, 401]),
        Endpoint::get("/sessions", Handler::Blocking(sessions)),
        Endpoint::delete("/sessions/{id}", Handler::Blocking(end_session)),
        Endpoint::post("/users", Handler::Blocking(create)),
        Endpoint::get("/users", Handler::Blocking(find)),
        Endpoint::get("/users/{id}", Handler::Inline(show)).with_statuses(&[200, 404, 503]),
        Endpoint::get("/user/id-{id}", Handler::Inline(show_by_old_name))
            .with_statuses(&[200, 404, 503]),
        Endpoint::patch("/users/{id}", Handler::Blocking(change)),
        Endpoint::delete("/users/{id}", Handler::Blocking(delete)),
        Endpoint::get("/.well-known/jwks.json", Handler::Inline(public_keys)),
        Endpoint::get("/docs", Handler::Inline(foundation_docs::page)),
        Endpoint::get("/docs/{file}", Handler::Inline(foundation_docs::file)),
    ];

    fn contract() -> Option<&'static str> {
        static CONTRACT: LazyLock<String> = LazyLock::new(|| {
            let flow = Flow::Password(Password::new("/token", Scopes::new()));
            let scheme = SecurityScheme::OAuth2(OAuth2::new([flow]));
            responses::contract(Contract::openapi(), "login", scheme)
        });
        Some(&CONTRACT)
    }

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        let update = "UPDATE change_counter SET last = last WHERE id = 1 AND FALSE";
        Ok(self.pool.check_writable(deadline, update)?)
    }

    fn observe(&self) {
        self.pool.observe();
        self.reader.observe();
        self.cache.observe();
    }

    fn finish(self, _deadline: Instant) {
        self.feed.finish();
        self.reader.finish();
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Planner: users",
        description = "Users, their sessions, and the keys that sign tokens."
    ),
    paths(
        log_in,
        log_out,
        refresh,
        sessions,
        end_session,
        create,
        find,
        show,
        show_by_old_name,
        change,
        delete,
        public_keys,
    )
)]
struct Contract;

impl From<TokenResponse> for Response {
    fn from(tokens: TokenResponse) -> Self {
        Self::json(&tokens).with_header("Cache-Control", "no-store")
    }
}

/// Logs in, with a form or with JSON.
#[utoipa::path(
    post, path = "/token", tag = "sessions",
    request_body(content((Login = "application/json"), (PasswordGrant = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "The tokens of a new session.", body = TokenResponse,
         headers(("RateLimit-Policy" = String,
                  description = "The tighter limit: `q` attempts at once, and one more every `w / q` seconds."),
                 ("RateLimit" = String, description = "`r` attempts remain now; in `t` seconds all are available again."))),
        (status = 401, description = "Login or password are wrong.", body = ProblemDocument,
         content_type = "application/problem+json",
         headers(("RateLimit-Policy" = String,
                  description = "The tighter limit: `q` attempts at once, and one more every `w / q` seconds."),
                 ("RateLimit" = String, description = "`r` attempts remain now; in `t` seconds all are available again."))),
        (status = 429, description = "Too many logins. `Retry-After` says when to try again.", body = ProblemDocument,
         content_type = "application/problem+json",
         headers(("Retry-After" = u64, description = "In seconds."),
                 ("RateLimit-Policy" = String,
                  description = "The limit: `q` attempts at once, and one more every `w / q` seconds."),
                 ("RateLimit" = String, description = "No attempt remains; in `t` seconds one is available again."))),
        WithBody, WithWrite, WithDatabase,
    )
)]
fn log_in(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let login = parse_login(exchange)?;
    let allowance = users
        .limits
        .check(&login.login, exchange.connection().ip())
        .map_err(Error::TooManyLogins)?;
    let [policy, remaining] = allowance.headers();
    let response = Response::from(users.log_in(login, exchange));
    Ok(response
        .with_header(policy.0, policy.1)
        .with_header(remaining.0, remaining.1))
}

/// Parses a login, from a form or from JSON.
fn parse_login(exchange: &Exchange) -> Result<Login, Problem> {
    let mut types = exchange.headers("Content-Type");
    let is_form = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    };
    if !types.any(is_form) {
        return exchange.json();
    }
    let form: PasswordGrant = exchange.form()?;
    if form.grant_type.is_some_and(|grant| grant != "password") {
        return Err(Error::UnsupportedGrantType.into());
    }
    Ok(Login {
        login: form.username,
        password: form.password,
    })
}

/// Logs out: ends the session of the token.
#[utoipa::path(
    delete, path = "/token", tag = "sessions", security(("login" = [])),
    responses((status = 204, description = "The session has ended."), WithToken, WithPath, WithWrite, WithDatabase)
)]
fn log_out(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = users.caller(exchange)?;
    end(users, exchange, caller.user, caller.session)
}

fn end(
    users: &Users,
    exchange: &Exchange,
    user: UserId,
    session: Uuid,
) -> Result<Response, Problem> {
    let query = move |connection: &mut _| store::end_session(connection, user, session);
    users.run(Access::Write, exchange, query)??;
    Ok(Response::empty(204))
}

/// Exchanges a refresh token for new tokens, once. Using it again ends its session.
#[utoipa::path(
    post, path = "/token/refresh", tag = "sessions", request_body = Refresh,
    responses((status = 200, description = "New tokens.", body = TokenResponse), WithToken, WithBody, WithWrite, WithDatabase)
)]
fn refresh(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let refresh: Refresh = exchange.json()?;
    let tokens = users.refresh(&refresh.refresh_token, exchange.deadline())?;
    Ok(tokens.into())
}

/// Lists the sessions of the caller.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", security(("login" = [])),
    responses((status = 200, description = "All sessions.", body = Sessions), WithToken, WithDatabase)
)]
fn sessions(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = users.caller(exchange)?;
    let query = move |connection: &mut _| store::sessions(connection, &caller);
    let items = users.run(Access::Read, exchange, query)?;
    Ok(Response::json(&Sessions { items }))
}

/// Ends a session of the caller.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", security(("login" = [])),
    params(("id" = Uuid, Path, description = "The session.")),
    responses((status = 204, description = "The session has ended."), WithToken, WithPath, WithWrite, WithDatabase)
)]
fn end_session(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let caller = users.caller(exchange)?;
    let id = exchange.parameter("id")?.parse();
    let id = id.map_err(|_error| Error::NO_SESSION)?;
    end(users, exchange, caller.user, id)
}

/// Creates a user.
#[utoipa::path(
    post, path = "/users", tag = "users", security(("login" = [])), request_body = NewUser,
    responses(
        (status = 201, description = "The user.", body = User,
         headers(("Location" = String, description = "Its path."), ("ETag" = String, description = "Its version."))),
        (status = 409, description = "The login is taken.", body = ProblemDocument, content_type = "application/problem+json"),
        WithToken, WithBody, WithWrite, WithDatabase,
    )
)]
fn create(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    users.caller(exchange)?;
    let new: NewUser = exchange.json()?;
    new.check()?;
    let hash = users.passwords.hash(&new.password, exchange.deadline())?;
    let query = move |connection: &mut _| store::create_user(connection, &new, &hash);
    let user = users.run(Access::Write, exchange, query)??;
    users.cache.put(user.id, CachedUser::found(&user));
    let location = format!("/users/{}", user.id);
    Ok(user_response(&user)
        .with_status(201)
        .with_header("Location", location))
}

fn user_response(user: &User) -> Response {
    Response::json(user).with_header("ETag", User::etag(user.version))
}

/// Finds users by login or by masks of their names, or lists all.
#[utoipa::path(
    get, path = "/users", tag = "users", security(("login" = [])), params(FindParameters),
    responses((status = 200, description = "A page of the list.", body = Items<User>), WithToken, WithQuery, WithDatabase)
)]
fn find(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    users.caller(exchange)?;
    let parameters: FindParameters = exchange.parameters()?;
    let page = Page::new(parameters.limit, parameters.after)?;
    let mask = |field, mask: Option<String>| mask.map(|mask| Mask::parse(field, &mask)).transpose();
    let search = Search {
        login: parameters.login,
        first_name: mask("first_name", parameters.first_name)?,
        last_name: mask("last_name", parameters.last_name)?,
    };
    let query = move |connection: &mut _| store::find(connection, &search, page);
    let found = users.run(Access::Read, exchange, query)?;
    Ok(Response::json(&page.items(found, |user| user.id.0)))
}

fn user_id(exchange: &Exchange) -> Result<UserId, Problem> {
    Ok(UserId::parse(&exchange.parameter("id")?).ok_or(Error::NO_USER)?)
}

/// Shows a user. Needs no token.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-None-Match" = Option<String>, Header, description = "The versions that the client has."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 304, description = "The user has one of these versions."),
        WithPath, WithDatabase,
    )
)]
fn show(users: &Users, exchange: Exchange) {
    let id = match user_id(&exchange) {
        Ok(id) => id,
        Err(problem) => return exchange.answer(problem),
    };
    // On a cache miss, the reader answers.
    match users.cache.look_up(id) {
        Some(cached) => {
            let response = cached.response(exchange.headers("If-None-Match"));
            exchange.answer(response);
        }
        None => users.reader.submit(id, exchange),
    }
}

/// Shows a user. Needs no token.
#[utoipa::path(
    get, path = "/user/id-{id}", tag = "users",
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-None-Match" = Option<String>, Header, description = "The versions that the client has."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 304, description = "The user has one of these versions."),
        WithPath, WithDatabase,
    )
)]
fn show_by_old_name(users: &Users, exchange: Exchange) {
    show(users, exchange);
}

/// The value of `If-Match`, if there is one.
fn if_match(exchange: &Exchange) -> Option<String> {
    let values: Vec<_> = exchange.headers("If-Match").collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Changes a user. Allowed for that user and admins.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", security(("login" = [])), request_body = UserChange,
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-Match" = Option<String>, Header, description = "The version to change."),
    ),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String, description = "Its version."))),
        (status = 412, description = "The user has another version.", body = ProblemDocument,
         content_type = "application/problem+json"),
        WithToken, WithPermission, WithPath, WithBody, WithWrite, WithDatabase,
    )
)]
fn change(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let id = authorize_change(users, exchange)?;
    let change: UserChange = exchange.json()?;
    change.check()?;
    let hash = change.password.as_ref();
    let hash = hash.map(|password| users.passwords.hash(password, exchange.deadline()));
    let (hash, if_match) = (hash.transpose()?, if_match(exchange));
    let query = move |connection: &mut _| {
        let (if_match, hash) = (if_match.as_deref(), hash.as_deref());
        store::change_user(connection, id, if_match, &change, hash)
    };
    let user = users.run(Access::Write, exchange, query)??;
    users.cache.put(id, CachedUser::found(&user));
    Ok(user_response(&user))
}

/// Deletes a user. Allowed for that user and admins.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", security(("login" = [])),
    params(
        ("id" = UserId, Path, description = "The user."),
        ("If-Match" = Option<String>, Header, description = "The version to delete."),
    ),
    responses(
        (status = 204, description = "It has been deleted."),
        (status = 409, description = "The user is an admin.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "The user has another version.", body = ProblemDocument,
         content_type = "application/problem+json"),
        WithToken, WithPermission, WithPath, WithWrite, WithDatabase,
    )
)]
fn delete(users: &Users, exchange: &Exchange) -> Result<Response, Problem> {
    let id = authorize_change(users, exchange)?;
    let if_match = if_match(exchange);
    let query = move |connection: &mut _| store::delete_user(connection, id, if_match.as_deref());
    users.run(Access::Write, exchange, query)??;
    users.cache.put(id, CachedUser::absent(DELETED));
    Ok(Response::empty(204))
}

/// The user of the path, if the caller may change it.
fn authorize_change(users: &Users, exchange: &Exchange) -> Result<UserId, Problem> {
    let caller = users.caller(exchange)?;
    let id = user_id(exchange)?;
    if !caller.is_user_or_admin(id) {
        let rule = "A user is changed and deleted by itself or an admin.";
        return Err(Error::Forbidden(rule).into());
    }
    Ok(id)
}

/// Lists the public keys that verify tokens.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "The keys.", body = JwkSet))
)]
fn public_keys(users: &Users, exchange: Exchange) {
    exchange.answer(Response::json(&users.keys.public_keys(now())));
}
