//! Addresses for servers that are restarted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below the ephemeral range, which the kernel uses for port 0 and for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Free addresses that no other program is assigned while the servers on them are down.
///
/// # Errors
/// If there are not so many free ports.
pub fn stable_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let first = rand::random_range(PORTS);
    // The listeners stay bound until all addresses are found.
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
