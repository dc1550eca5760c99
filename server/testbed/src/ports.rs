//! Addresses of servers that go away and come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below those that the kernel gives to whoever asks for any, and to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Free addresses that nobody takes while the servers on them are away.
///
/// # Errors
/// If there are not so many.
pub fn lasting_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let first = rand::random_range(PORTS);
    // Held until all are found.
    let found: Vec<_> = (first..PORTS.end)
        .chain(PORTS.start..first)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(count)
        .collect();
    if found.len() < count {
        return Err(io::Error::other(format!(
            "no {count} ports of {PORTS:?} are free"
        )));
    }
    found.iter().map(TcpListener::local_addr).collect()
}
