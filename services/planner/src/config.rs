//! Options of both services, besides those that every server has.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use foundation::config::{ServerArgs, duration};
use url::Url;

use crate::users::cache::CacheMode;
use crate::users::user::PASSWORD_CHARACTERS;

/// The planner: users, and their goals and tasks. Two services, each with its own database.
#[derive(Debug, Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DUMMY_MESSENGER_BUILD"), ")"), next_line_help = false)]
pub struct Config {
    /// Which service to run.
    #[command(subcommand)]
    pub service: Service,
}

/// The service to run.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Serves users: logins, tokens, sessions. Any number of these may share a database
    Users(UsersArgs),
    /// Serves goals and tasks. Any number of these may share a database
    Goals(GoalsArgs),
}

/// Options of the users' service.
#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:8000")))]
pub struct UsersArgs {
    /// A command to run instead of serving.
    #[command(subcommand)]
    pub command: Option<UsersCommand>,

    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Whether users are kept in memory; `off` is for comparison
    #[arg(long, value_enum, default_value = "on", value_name = "MODE")]
    pub cache: CacheMode,

    /// Login attempts for one login, from any address: so many at once, then so many per minute; more are refused with 429. Each
    /// process counts for itself
    #[arg(long, default_value = "10", value_parser = parse_count, value_name = "COUNT")]
    pub logins_a_minute: NonZeroU32,

    /// Login attempts from one address, for any login: so many at once, then so many per minute; more are refused with 429. Each
    /// process counts for itself. Behind a proxy all clients share its address
    #[arg(long, default_value = "60", value_parser = parse_count, value_name = "COUNT")]
    pub logins_a_minute_from_address: NonZeroU32,

    /// Encrypts the signing keys in the database; at least 32 characters, as from `openssl rand -hex 32`. Without it, whoever can
    /// read the database can make tokens
    #[arg(
        long,
        env = "KEY_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub key_secret: Option<String>,

    /// The password of the user `admin`, who is created at the first start: 8 to 128 characters. The default is `secret`
    #[arg(
        long,
        env = "ADMIN_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub admin_password: Option<String>,
}

/// Commands of the users' program.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Creates a new signing key. Running services learn of it; tokens of the old key stay valid until they expire
    RotateKey {
        /// After how long the new key begins to sign: longer than services take to learn of it
        #[arg(long, default_value = "15s", value_parser = duration, value_name = "TIME")]
        after: Duration,
    },
}

/// Options of the goals' service.
#[derive(Debug, Args)]
pub struct GoalsArgs {
    /// Options that every server has.
    #[command(flatten)]
    pub server: ServerArgs,

    /// The users' service, which publishes the public keys of tokens
    #[arg(long, default_value = "http://127.0.0.1:8000", value_parser = parse_base_url, value_name = "URL")]
    pub users_url: Url,
}

/// A shorter secret could be found by brute force, given a copy of the database.
const MIN_KEY_SECRET_LENGTH: usize = 32;

impl UsersArgs {
    /// Checks the secrets. A parser of the option would not do, because clap shows the value in its error.
    ///
    /// # Errors
    /// A message without the secret.
    pub fn check_secrets(&self) -> Result<(), String> {
        let length = |secret: &str| secret.chars().count();
        if let Some(secret) = &self.key_secret
            && length(secret) < MIN_KEY_SECRET_LENGTH
        {
            return Err(format!(
                "KEY_SECRET must have at least {MIN_KEY_SECRET_LENGTH} characters"
            ));
        }
        if let Some(password) = &self.admin_password
            && !PASSWORD_CHARACTERS.contains(&length(password))
        {
            let (min, max) = PASSWORD_CHARACTERS.into_inner();
            return Err(format!(
                "ADMIN_PASSWORD must have {min} to {max} characters"
            ));
        }
        Ok(())
    }
}

fn parse_count(text: &str) -> Result<NonZeroU32, String> {
    let max = u32::MAX;
    text.parse()
        .map_err(|_error| format!("takes a whole number, 1 to {max}"))
}

fn parse_base_url(text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|error: url::ParseError| error.to_string())?;
    let is_http = ["http", "https"].contains(&url.scheme());
    if !is_http || url.query().is_some() || url.fragment().is_some() {
        return Err("takes a URL as http://127.0.0.1:8000, without `?` and `#`".to_owned());
    }
    Ok(url)
}
