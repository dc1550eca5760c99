//! An address of a test's server that goes away and comes back.

use std::net::SocketAddr;

use crate::lasting_addresses;

/// A free address that nobody takes while the server on it is away.
pub fn lasting_address() -> SocketAddr {
    lasting_addresses(1).expect("a port is free")[0]
}
