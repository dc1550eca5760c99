//! Helpers for tests. A step that fails panics, and so fails the test. In reading order:
//!
//! * `waiting`: waits for a condition; reports that a test is skipped.
//! * `database`: an empty database for one test, on a shared server.
//! * `own_database`: a database server for one test.
//! * `replica`: a replica for one test.
//! * `http_client`: a low-level HTTP client, for tests that check what is on the wire.
//! * `load`: HTTP clients that retry each message until it is answered.
//! * `promises`: checks the promises by these clients' replies.

mod waiting;

mod database;

mod own_database;

mod replica;

mod http_client;

mod load;

mod promises;

pub use database::Database;
pub use http_client::{Answer, HttpClient};
pub use load::Load;
pub use own_database::OwnDatabase;
pub use promises::{Exchange, assert_promises};
pub use replica::Replica;
pub use waiting::{PATIENCE, SetAtEnd, eventually, skip};

/// A free address that no other program is assigned while the server on it is down.
pub fn stable_address() -> std::net::SocketAddr {
    crate::stable_addresses(1).expect("a port is free")[0]
}
