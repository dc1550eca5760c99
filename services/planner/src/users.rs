//! The users' service: users, their sessions, and the keys that sign tokens.
//!
//! In reading order:
//!
//! * [`api`]: the endpoints, and their contract.
//! * [`wire`], [`user`], [`mask`], [`refresh_token`]: requests and responses, parsed.
//! * [`passwords`], [`login_limits`]: hashing of passwords, and rate limits of logins.
//! * [`signing_keys`], [`rotation`]: the keys that sign tokens.
//! * [`cache`], [`reader`], [`change_feed`]: users in memory, and how they are kept coherent with the database.
//! * [`store`]: all SQL.

pub mod api;
pub mod wire;
pub mod user;
pub mod mask;
pub mod refresh_token;
pub mod passwords;
pub mod login_limits;
pub mod signing_keys;
pub mod rotation;
pub mod cache;
pub mod reader;
pub mod change_feed;
pub mod store;

use std::sync::Arc;
use std::time::Instant;

use foundation::http::{Exchange, Problem};
use foundation::mysql::{Access, DatabaseAway, DatabaseError, Pool};
use foundation::service::Failure;
use foundation::telemetry::Registry;
use mysql::Conn;

use crate::config::UsersArgs;
use crate::error::{self, Error};
use crate::token::{Caller, LIFETIME_S, bearer_token, now};
use cache::UserCache;
use change_feed::ChangeFeed;
use login_limits::LoginLimits;
use passwords::Passwords;
use reader::UserReader;
use refresh_token::RefreshToken;
use signing_keys::{Seal, SigningKeys, StoredKey};
use store::{DEDICATED_CONNECTIONS, POOL_CONNECTIONS, SCHEMA};
use wire::{Login, TokenResponse};

/// The first password of `admin`, unless an option sets another.
const DEFAULT_ADMIN_PASSWORD: &str = "secret";

/// The users' service.
pub struct Users {
    pool: Pool,
    passwords: Passwords,
    limits: LoginLimits,
    keys: Arc<SigningKeys>,
    cache: Arc<UserCache>,
    reader: UserReader,
    feed: ChangeFeed,
}

impl Users {
    /// Opens the database, initializes it at the first start, and starts to follow the changes of other processes.
    pub fn start(options: &UsersArgs, registry: &Registry) -> Result<Self, Failure> {
        let database = options.server.database.open(&SCHEMA, registry)?;
        let passwords = Passwords::default();
        let seal = options.key_secret.as_deref().map(Seal::new);
        let metrics = database.metrics("start");
        let mut connection = database
            .connect(&metrics, None)
            .map_err(|error| Failure::new(&error))?;
        let (last_change, stored) = prepare(&mut connection, options, seal.as_ref())
            .map_err(|error| Failure::new(&error))?;
        drop(connection);
        let keys = SigningKeys::new(stored, seal).map_err(|error| Failure::new(&error))?;
        let keys = Arc::new(keys);
        let cache = Arc::new(UserCache::new(options.cache, registry));
        let dedicated = |name| database.pool(name, DEDICATED_CONNECTIONS);
        let feed = ChangeFeed::start(
            dedicated("changes"),
            Arc::clone(&cache),
            Arc::clone(&keys),
            last_change,
        );
        Ok(Self {
            pool: database.pool("requests", POOL_CONNECTIONS),
            passwords,
            limits: LoginLimits::new(
                options.logins_a_minute,
                options.logins_a_minute_from_address,
            ),
            keys,
            reader: UserReader::new(dedicated("reader"), Arc::clone(&cache)),
            cache,
            feed: feed.map_err(|error| Failure::new(&error))?,
        })
    }

    /// Runs `query` on a connection of the pool that requests share, until the request's deadline.
    fn run<T: Send + 'static>(
        &self,
        access: Access,
        exchange: &Exchange,
        query: impl FnOnce(&mut Conn) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, Problem> {
        let answer = self.pool.run(access, exchange.deadline(), query);
        answer.map_err(|away| error::database_problem(away, Error::OutcomeUnknown))
    }

    /// The caller of a request, if the session of the token has not ended.
    fn caller(&self, exchange: &Exchange) -> Result<Caller, Problem> {
        let verified = self.keys.verify(bearer_token(exchange)?, now());
        let caller = verified.map_err(Error::InvalidToken)?;
        let query = move |connection: &mut _| store::has_session(connection, &caller);
        if !self.run(Access::Read, exchange, query)? {
            return Err(Error::SessionEnded.into());
        }
        Ok(caller)
    }

    /// Begins a session. An unknown login takes as long as a wrong password.
    fn log_in(&self, login: Login, exchange: &Exchange) -> Result<TokenResponse, Problem> {
        let Login { login, password } = login;
        let query = move |connection: &mut _| store::credentials(connection, &login);
        let found = self.run(Access::Read, exchange, query)?;
        let hash = found.as_ref().map(|found| found.hash.as_str());
        let is_right = self
            .passwords
            .verify(&password, hash, exchange.deadline())?;
        let credentials = found.filter(|_| is_right).ok_or(Error::WrongCredentials)?;
        let refresh = RefreshToken::first();
        let first = refresh.clone();
        let query =
            move |connection: &mut _| store::begin_session(connection, &credentials, &first);
        let caller = self.pool.run(Access::Write, exchange.deadline(), query);
        self.token_response(caller, &refresh)
    }

    fn refresh(&self, token: &str, deadline: Instant) -> Result<TokenResponse, Problem> {
        let token = RefreshToken::parse(token).ok_or(Error::InvalidRefreshToken)?;
        let refresh = token.next();
        let next = refresh.clone();
        let query = move |connection: &mut _| store::refresh(connection, &token, &next);
        let mut refreshed = self.pool.run(Access::Write, deadline, query.clone());
        // If the connection was lost after COMMIT, a second try finds the next token in place.
        if let Err(away) = &refreshed
            && away.outcome_unknown
        {
            refreshed = self.pool.run(Access::Write, deadline, query);
            // Even if the second try was not begun, the first may have succeeded.
            refreshed = refreshed.map_err(|away| DatabaseAway {
                outcome_unknown: true,
                ..away
            });
        }
        self.token_response(refreshed, &refresh)
    }

    /// The response to a login or a refresh.
    fn token_response(
        &self,
        caller: Result<Result<Caller, Error>, DatabaseAway>,
        refresh: &RefreshToken,
    ) -> Result<TokenResponse, Problem> {
        let caller =
            caller.map_err(|away| error::database_problem(away, Error::LoginOutcomeUnknown))??;
        Ok(TokenResponse {
            access_token: self.keys.sign(&caller, now()),
            token_type: "bearer",
            expires_in: LIFETIME_S,
            refresh_token: refresh.encode(),
        })
    }
}

/// Initializes the database at the first start. Returns the number of the last change, and the keys, which are read after it.
fn prepare(
    connection: &mut Conn,
    options: &UsersArgs,
    seal: Option<&Seal>,
) -> Result<(u64, Vec<StoredKey>), DatabaseError> {
    let password = options
        .admin_password
        .as_deref()
        .unwrap_or(DEFAULT_ADMIN_PASSWORD);
    store::initialize(
        connection,
        || passwords::hash(password),
        || StoredKey::generate(seal),
    )?;
    let admin = store::credentials(connection, "admin")?;
    if admin.is_some_and(|admin| passwords::verify(DEFAULT_ADMIN_PASSWORD, &admin.hash)) {
        tracing::warn!(
            "the password of the user `admin` is `{DEFAULT_ADMIN_PASSWORD}`, which everybody knows: change it"
        );
    }
    let last_change = store::last_change(connection)?;
    let keys = store::keys(connection)?;
    // An older key expires soon.
    if keys
        .iter()
        .any(|key| !key.sealed && key.verifies_until.is_none())
    {
        let set_it = if seal.is_none() { "set it, then " } else { "" };
        tracing::warn!(
            "who reads the database can make tokens: its signing key is not sealed by KEY_SECRET: {set_it}run `planner users rotate-key`"
        );
    }
    Ok((last_change, keys))
}
