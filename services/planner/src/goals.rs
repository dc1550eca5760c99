//! The goals' service: goals and tasks. Knows users only by their tokens.
//!
//! In reading order:
//!
//! * [`api`]: the endpoints, and their contract.
//! * [`goal`], [`status`]: requests and responses.
//! * [`public_keys`]: the keys that verify tokens.
//! * [`store`]: all SQL.

pub mod api;
pub mod goal;
pub mod status;
pub mod public_keys;
pub mod store;

use foundation::http::{Exchange, Problem};
use foundation::mysql::{Access, DatabaseError, Pool};
use foundation::service::Failure;
use foundation::telemetry::Registry;
use mysql::Conn;

use crate::config::GoalsArgs;
use crate::error::{self, Error};
use public_keys::PublicKeys;
use store::{CONNECTIONS, SCHEMA};

/// The goals' service.
pub struct Goals {
    pool: Pool,
    keys: PublicKeys,
}

impl Goals {
    /// Opens the database, and fetches the public keys if the users' service is up.
    pub fn start(options: &GoalsArgs, registry: &Registry) -> Result<Self, Failure> {
        let database = options.server.database.open(&SCHEMA, registry)?;
        let known = registry.gauge("public_keys", "Public keys by which tokens are verified");
        let failures = registry.counter(
            "public_keys_failures_total",
            "Failed attempts to fetch the public keys from the users' service",
        );
        let keys = PublicKeys::start(&options.users_url, known, failures);
        Ok(Self {
            pool: database.pool("requests", CONNECTIONS),
            keys: keys.map_err(|error| Failure::new(&error))?,
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
}
