//! The members, and who is primary.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use faults::{DatabaseProcess, Link, Network, Process};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};

use crate::interruption::{PAUSE, sleep};

pub(crate) const MEMBERS: u8 = 3;
/// Any UUID; groups do not meet, as they have ports of their own.
const GROUP: &str = "8a94f357-aab4-11df-86ab-c80aa9429562";
/// A member that was away catches up, and an expelled one tries by itself first.
const JOIN: Duration = Duration::from_secs(180);
/// Members suspect for 5 seconds, and wait for 5 more before they expel.
const ELECTION: Duration = Duration::from_secs(120);

/// What a member must know before it joins. The users are made before the group, alike on all members.
const SET_UP: [&str; 6] = [
    // Callers are on other hosts.
    "RENAME USER dm@localhost TO dm@'%'",
    "CREATE USER replication@'%' IDENTIFIED BY 'replication'",
    "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO replication@'%'",
    "GRANT SELECT ON performance_schema.replication_group_members TO dm@'%'",
    "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'replication', SOURCE_PASSWORD = 'replication'
     FOR CHANNEL 'group_replication_recovery'",
    "RESET BINARY LOGS AND GTIDS",
];

/// Three servers in one group.
pub(crate) struct Group {
    members: Vec<Member>,
    /// If each is on a host of its own.
    network: Option<Network>,
}

/// One of them.
struct Member {
    process: DatabaseProcess,
    at: Addresses,
}

#[derive(Clone, Copy)]
struct Addresses {
    /// For clients.
    address: Ipv4Addr,
    port: u16,
    /// For other members, which also connect to `port` when they join.
    group_address: Ipv4Addr,
    group_port: u16,
}

impl Group {
    /// Starts three servers with data of their own in `folder`, and makes them one group. `options` are for each of them.
    /// With a network each is on a host of it, else all are on loopback.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        options: &[String],
        network: Option<Network>,
    ) -> Result<Self, Box<dyn Error>> {
        let template = folder.join("1");
        DatabaseProcess::initialize(program, &template)?;
        let addresses = addresses(network.is_some())?;
        let members = addresses.iter().zip(1..).map(|(&at, number)| {
            let folder = folder.join(number.to_string());
            fs::create_dir_all(&folder)?;
            let process = DatabaseProcess::on(program, &folder)?;
            let process = member_options(number, at, &addresses)
                .iter()
                .chain(options)
                .fold(process, DatabaseProcess::option);
            Ok::<_, std::io::Error>(Member { process, at })
        });
        let members = members.collect::<Result<_, _>>()?;
        let mut group = Self { members, network };

        group.start_member(0)?;
        let mut first = group.members[0].connect()?;
        SET_UP
            .iter()
            .try_for_each(|statement| first.query_drop(statement))?;
        group.stop_member(0)?;
        for number in 2..=MEMBERS {
            copy(&template.join("data"), &folder.join(number.to_string()))?;
        }
        group
            .indices()
            .try_for_each(|index| group.start_member(index))?;
        group.begin(0)?;
        Ok(group)
    }

    /// On its host.
    pub(crate) fn start_member(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        let mut start = || self.members[index].process.start();
        match &self.network {
            Some(network) => network.on(host(index)?, &mut start)??,
            None => start()?,
        }
        Ok(())
    }

    pub(crate) fn stop_member(&mut self, index: usize) -> std::io::Result<()> {
        self.members[index].process.stop()
    }

    /// The process of a running member.
    pub(crate) fn process(&mut self, index: usize) -> std::io::Result<&mut Process> {
        self.members[index].process.process()
    }

    /// A connection of the operator, which no cut of the network concerns.
    pub(crate) fn operator(&self, index: usize) -> Result<Conn, mysql::Error> {
        self.members[index].connect()
    }

    pub(crate) fn cut(&self, index: usize, links: &[Link]) -> Result<(), Box<dyn Error>> {
        let network = self.network.as_ref().ok_or(NO_NETWORK)?;
        let host = host(index)?;
        Ok(links.iter().try_for_each(|&link| network.cut(host, link))?)
    }

    pub(crate) fn mend(&self, index: usize, links: &[Link]) -> Result<(), Box<dyn Error>> {
        let network = self.network.as_ref().ok_or(NO_NETWORK)?;
        let host = host(index)?;
        Ok(links
            .iter()
            .try_for_each(|&link| network.mend(host, link))?)
    }

    /// Starts members that have all ended, and makes them one group again, as an operator does: what the first one lacks, the
    /// group will lack.
    pub(crate) fn begin_again(&mut self) -> Result<(), Box<dyn Error>> {
        self.indices()
            .try_for_each(|index| self.start_member(index))?;
        let first = self.most_advanced()?;
        self.begin(first)
    }

    /// The running member that has all that any of them stored, or received to be stored.
    fn most_advanced(&self) -> Result<usize, Box<dyn Error>> {
        let mut known = Vec::new();
        for member in &self.members {
            let transactions: Option<String> = member.connect()?.query_first(
                "SELECT CONCAT_WS(',', @@GLOBAL.gtid_executed, MAX(received_transaction_set))
                 FROM performance_schema.replication_connection_status
                 WHERE channel_name = 'group_replication_applier'",
            )?;
            known.push(transactions.unwrap_or_default());
        }
        let mut calculator = self.members[0].connect()?;
        let mut has_all_of = |one: &String, other: &String| -> Result<bool, mysql::Error> {
            let subset: Option<bool> =
                calculator.exec_first("SELECT GTID_SUBSET(?, ?)", (other, one))?;
            Ok(subset.unwrap_or(false))
        };
        for (index, one) in known.iter().enumerate() {
            let mut all = true;
            for other in &known {
                all &= has_all_of(one, other)?;
            }
            if all {
                return Ok(index);
            }
        }
        Err("each member lacks transactions that another has".into())
    }

    /// Makes one group of servers that are in none; `first` has all that the others have.
    fn begin(&self, first: usize) -> Result<(), Box<dyn Error>> {
        let mut connection = self.members[first].connect()?;
        connection.query_drop("SET GLOBAL group_replication_bootstrap_group = ON")?;
        connection.query_drop("START GROUP_REPLICATION")?;
        connection.query_drop("SET GLOBAL group_replication_bootstrap_group = OFF")?;
        self.indices().try_for_each(|index| self.join(index))
    }

    pub(crate) fn version(&self) -> Result<String, Box<dyn Error>> {
        let version: Option<String> = self.members[0].connect()?.query_first("SELECT VERSION()")?;
        Ok(format!("MySQL {}", version.unwrap_or_default()))
    }

    /// All hosts, as the server takes them.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(Member::url).collect();
        urls.join(",")
    }

    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.members.len()
    }

    /// A connection to a member's database. Looking through all messages takes its time.
    pub(crate) fn session(&self, index: usize) -> Result<Conn, mysql::Error> {
        Conn::new(Opts::from_url(&self.members[index].url())?)
    }

    /// Waits for a primary that takes writes; `except` is not asked, it may be frozen.
    pub(crate) fn primary(&self, except: Option<usize>) -> Result<usize, Box<dyn Error>> {
        let start = Instant::now();
        while start.elapsed() < ELECTION {
            for index in self.indices().filter(|&index| Some(index) != except) {
                if self.members[index].is_primary().unwrap_or(false) {
                    return Ok(index);
                }
            }
            sleep(PAUSE)?;
        }
        Err(format!("no new primary after {ELECTION:?}").into())
    }

    /// Lets a running server join, and waits until it is a full member.
    pub(crate) fn join(&self, index: usize) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        // It may be busy, or just be joining by itself.
        let mut last = None;
        while start.elapsed() < JOIN {
            match self.members[index].join() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
            sleep(PAUSE)?;
        }
        Err(format!("member {} does not join: {last:?}", index + 1).into())
    }
}

impl Member {
    fn url(&self) -> String {
        let (user, name) = (DatabaseProcess::USER, DatabaseProcess::NAME);
        format!(
            "mysql://{user}@{}:{}/{name}?prefer_socket=false",
            self.at.address, self.at.port
        )
    }

    fn connect(&self) -> Result<Conn, mysql::Error> {
        self.process.connect()
    }

    fn is_primary(&self) -> Result<bool, mysql::Error> {
        let primary: Option<bool> = self.connect()?.query_first(
            "SELECT member_role = 'PRIMARY' AND member_state = 'ONLINE' AND NOT @@GLOBAL.read_only
             FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid",
        )?;
        Ok(primary.unwrap_or(false))
    }

    /// Whether it has joined; if it does not even try, it is told to.
    fn join(&self) -> Result<bool, mysql::Error> {
        let mut connection = self.connect()?;
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

const NO_NETWORK: &str = "the members have no network of their own";

/// A member's, on the network.
fn host(index: usize) -> Result<u8, std::num::TryFromIntError> {
    index.try_into()
}

fn addresses(on_hosts: bool) -> std::io::Result<Vec<Addresses>> {
    let ports = free_ports(2 * usize::from(MEMBERS))?;
    let addresses = (0..MEMBERS).zip(ports.chunks(2)).map(|(host, ports)| {
        let address = |link| match on_hosts {
            true => Network::address(host, link),
            false => Ipv4Addr::LOCALHOST,
        };
        Addresses {
            address: address(Link::Callers),
            port: ports[0],
            group_address: address(Link::Hosts),
            group_port: ports[1],
        }
    });
    Ok(addresses.collect())
}

fn member_options(number: u8, at: Addresses, all: &[Addresses]) -> Vec<String> {
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

/// Free now, and hardly taken before the servers are there: the kernel gives another port to each who asks.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Without the file that holds the server's identity; it makes another.
fn copy(data: &Path, to: &Path) -> std::io::Result<()> {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([data, to])
        .status()?;
    if !copied.success() {
        return Err(std::io::Error::other("cp failed"));
    }
    fs::remove_file(to.join("data/auto.cnf"))
}
