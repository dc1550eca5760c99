//! Rotation of the signing key, for all processes of the users' service.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use foundation::telemetry::{self, Program, Registry};

use crate::config::UsersArgs;
use crate::token::{LEEWAY_S, LIFETIME_S};
use crate::users::signing_keys::{Seal, SigningKeys, StoredKey};
use crate::users::store::{self, SCHEMA};

/// Creates a key that signs after this time, and exits. A failure is logged.
#[must_use]
pub fn main(options: &UsersArgs, after: Duration) -> ExitCode {
    let log = options.server.log;
    telemetry::start(log.log_level, log.log_format);
    match rotate(options, after) {
        Ok(kid) => {
            tracing::info!(kid, ?after, "a new key begins to sign");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn rotate(options: &UsersArgs, after: Duration) -> Result<String, Box<dyn Error>> {
    let program = Program::new("planner_users", env!("CARGO_PKG_VERSION"));
    let database = options
        .server
        .database
        .open(&SCHEMA, &Registry::new(program))?;
    let metrics = database.metrics("start");
    let mut connection = database.connect(&metrics, None)?;
    let seal = options.key_secret.as_deref().map(Seal::new);
    let key = StoredKey::generate(seal.as_ref());
    // Processes use all keys of the database or none, so the secret must be that of the other keys.
    SigningKeys::new(store::keys(&mut connection)?, seal)?;
    // A process may learn of the new key, and begin to sign with it, a little late.
    let old_key_lifetime_s = LIFETIME_S + 2 * LEEWAY_S;
    // Whole seconds, rounded up.
    let after_s = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    store::rotate_key(&mut connection, &key, after_s, old_key_lifetime_s)?;
    Ok(key.kid)
}
