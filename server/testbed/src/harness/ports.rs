//! Addresses of servers that go away and come back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below those that the kernel gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A free address that nobody takes while the server on it is away.
pub fn lasting_address() -> SocketAddr {
    let first = rand::random_range(PORTS);
    (first..PORTS.end)
        .chain(PORTS.start..first)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a port is free")
}
