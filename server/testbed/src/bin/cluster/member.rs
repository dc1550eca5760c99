//! One member: its addresses and options.

use std::net::Ipv4Addr;

use mysql::prelude::Queryable;
use testbed::{DatabaseProcess, Link, Network, stable_addresses};

/// Any UUID. Groups of several runs do not meet, because each has ports of its own.
const GROUP: &str = "8a94f357-aab4-11df-86ab-c80aa9429562";

/// A server of a group.
pub(crate) struct Member {
    /// Its own connections use the Unix socket, as an operator would, so cuts of the network do not affect them.
    pub(crate) server: DatabaseProcess,
    pub(crate) at: Addresses,
}

/// The addresses and ports of a member.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    /// The address for clients.
    address: Ipv4Addr,
    port: u16,
    /// The address for other members, which also connect to `port` when they join.
    group_address: Ipv4Addr,
    group_port: u16,
}

impl Member {
    /// The URL of a database of this member, for clients.
    pub(crate) fn url(&self, database: &str) -> String {
        let Addresses { address, port, .. } = self.at;
        let user = DatabaseProcess::USER;
        format!("mysql://{user}@{address}:{port}/{database}?prefer_socket=false")
    }

    pub(crate) fn is_primary(&self) -> Result<bool, mysql::Error> {
        let primary: Option<bool> = self.server.connect()?.query_first(
            "SELECT member_role = 'PRIMARY' AND member_state = 'ONLINE' AND NOT @@GLOBAL.read_only
             FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid",
        )?;
        Ok(primary.unwrap_or(false))
    }

    /// Whether it has joined. If it is not even trying, starts Group Replication.
    pub(crate) fn join(&self) -> Result<bool, mysql::Error> {
        let mut connection = self.server.connect()?;
        let state: Option<String> = connection.query_first(
            "SELECT member_state
             FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid",
        )?;
        match state.as_deref() {
            Some("ONLINE") => return Ok(true),
            Some("RECOVERING") => {}
            _ => connection.query_drop("START GROUP_REPLICATION")?,
        }
        Ok(false)
    }
}

impl Addresses {
    /// Chooses addresses for so many members, each on a host of its own or all on loopback.
    pub(crate) fn of(members: u8, on_hosts: bool) -> std::io::Result<Vec<Self>> {
        let free = stable_addresses(2 * usize::from(members))?;
        let addresses = (0..members).zip(free.chunks(2)).map(|(host, free)| {
            let address = |link| {
                if on_hosts {
                    Network::address(host, link)
                } else {
                    Ipv4Addr::LOCALHOST
                }
            };
            Self {
                address: address(Link::Clients),
                port: free[0].port(),
                group_address: address(Link::Hosts),
                group_port: free[1].port(),
            }
        });
        Ok(addresses.collect())
    }
}

/// The options of a member, with the addresses of all.
pub(crate) fn options(number: u8, at: Addresses, all: &[Addresses]) -> Vec<String> {
    let Addresses {
        address,
        port,
        group_address,
        group_port,
    } = at;
    let seeds: Vec<String> = all
        .iter()
        .map(|at| format!("{}:{}", at.group_address, at.group_port))
        .collect();
    let bind = if address == group_address {
        address.to_string()
    } else {
        format!("{address},{group_address}")
    };
    vec![
        "--skip-networking=OFF".to_owned(),
        "--skip-name-resolve".to_owned(),
        format!("--bind-address={bind}"),
        format!("--port={port}"),
        format!("--server-id={number}"),
        "--gtid-mode=ON".to_owned(),
        "--enforce-gtid-consistency=ON".to_owned(),
        format!("--report-host={group_address}"),
        format!("--report-port={port}"),
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--group-replication-group-name={GROUP}"),
        "--group-replication-start-on-boot=OFF".to_owned(),
        format!("--group-replication-local-address={group_address}:{group_port}"),
        format!("--group-replication-group-seeds={}", seeds.join(",")),
        "--group-replication-recovery-get-public-key=ON".to_owned(),
    ]
}
