//! The members, and who is primary.

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use faults::DatabaseProcess;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};

const MEMBERS: usize = 3;
/// Any UUID; groups do not meet, as they have ports of their own.
const GROUP: &str = "8a94f357-aab4-11df-86ab-c80aa9429562";
/// A member that was away catches up, and an expelled one tries by itself first.
const JOIN: Duration = Duration::from_secs(180);
/// Members suspect for 5 seconds, and wait for 5 more before they expel.
const ELECTION: Duration = Duration::from_secs(120);
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// What a member must know before it joins. The users are made before the group, alike on all members.
const SET_UP: [&str; 5] = [
    "CREATE USER replication@'%' IDENTIFIED BY 'replication'",
    "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO replication@'%'",
    "GRANT SELECT ON performance_schema.replication_group_members TO dm@localhost",
    "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'replication', SOURCE_PASSWORD = 'replication'
     FOR CHANNEL 'group_replication_recovery'",
    "RESET BINARY LOGS AND GTIDS",
];

/// Three servers in one group.
pub(crate) struct Group {
    members: Vec<Member>,
}

/// One of them.
pub(crate) struct Member {
    pub(crate) process: DatabaseProcess,
    port: u16,
}

impl Group {
    /// Starts three servers with data of their own in `folder`, and makes them one group. `options` are for each of them.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        options: &[String],
    ) -> Result<Self, Box<dyn Error>> {
        let template = folder.join("1");
        DatabaseProcess::initialize(program, &template)?;
        let ports = free_ports(2 * MEMBERS)?;
        let (ports, group_ports) = ports.split_at(MEMBERS);
        let members = (0..MEMBERS).map(|index| {
            let folder = folder.join(format!("{}", index + 1));
            fs::create_dir_all(&folder)?;
            let mut process = DatabaseProcess::on(program, &folder)?;
            for option in member_options(index, ports[index], group_ports) {
                process = process.option(option);
            }
            let process = options.iter().fold(process, DatabaseProcess::option);
            let port = ports[index];
            Ok::<_, std::io::Error>(Member { process, port })
        });
        let mut members = members.collect::<Result<Vec<_>, _>>()?;

        members[0].process.start()?;
        let mut first = members[0].connect()?;
        SET_UP
            .iter()
            .try_for_each(|statement| first.query_drop(statement))?;
        members[0].process.stop()?;
        for index in 1..MEMBERS {
            copy(
                &template.join("data"),
                &folder.join(format!("{}", index + 1)),
            )?;
        }
        for member in &mut members {
            member.process.start()?;
        }
        let group = Self { members };
        group.begin(0)?;
        Ok(group)
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

    pub(crate) fn member(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
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
            sleep(PAUSE);
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
            sleep(PAUSE);
        }
        Err(format!("member {} does not join: {last:?}", index + 1).into())
    }
}

impl Member {
    fn url(&self) -> String {
        let (user, name) = (DatabaseProcess::USER, DatabaseProcess::NAME);
        format!(
            "mysql://{user}@127.0.0.1:{}/{name}?prefer_socket=false",
            self.port
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

fn member_options(index: usize, port: u16, group_ports: &[u16]) -> Vec<String> {
    let seeds: Vec<String> = group_ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    vec![
        "--skip-networking=OFF".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--server-id={}", index + 1),
        "--gtid-mode=ON".to_owned(),
        "--enforce-gtid-consistency=ON".to_owned(),
        "--report-host=127.0.0.1".to_owned(),
        format!("--report-port={port}"),
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--group-replication-group-name={GROUP}"),
        "--group-replication-start-on-boot=OFF".to_owned(),
        format!("--group-replication-local-address={}", seeds[index]),
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
