//! The parts for tests: what cannot be done fails the test. In reading order:
//!
//! * `waiting`: for what must come; how a test says that it is skipped.
//! * `database`: a database of one's own, on a server that others use as well.
//! * `own_database`: a database server for one test.
//! * `replica`: a replica of a test.
//! * `http_client`: HTTP byte by byte, for tests that must see what is on the wire.
//! * `load`: HTTP clients that repeat each message until it is answered.
//! * `judge`: the promises, judged from their replies.

mod waiting;

mod database;

mod own_database;

mod replica;

mod http_client;

mod load;

mod judge;

pub use database::Database;
pub use http_client::{Answer, Caller};
pub use judge::{Exchange, assert_promises};
pub use load::Load;
pub use own_database::OwnDatabase;
pub use replica::Replica;
pub use waiting::{PATIENCE, SetAtEnd, eventually, skip};

/// A free address that nobody takes while the server on it is away.
pub fn lasting_address() -> std::net::SocketAddr {
    crate::lasting_addresses(1).expect("a port is free")[0]
}
