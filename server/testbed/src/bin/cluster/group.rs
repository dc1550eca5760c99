//! A group of three members; finds its primary.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts};
use testbed::interruption::wait_until;
use testbed::{DatabaseProcess, Network};

use crate::member::{Addresses, Member, options};

pub(crate) const MEMBERS: u8 = 3;
/// Long, because a member that was down has to catch up, and an expelled one first tries to rejoin by itself.
const JOIN_TIMEOUT: Duration = Duration::from_secs(180);
/// Members suspect another after 5 seconds, and expel it after 5 more.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Statements that set a member up before it joins. The users are created before the group, identically on all members.
const SET_UP: [&str; 6] = [
    // Clients are on other hosts.
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
    pub(crate) members: Vec<Member>,
    /// The network, if each member is on a virtual host of its own.
    network: Option<Network>,
}

impl Group {
    /// Starts three servers with data of their own in `folder`, and makes them one group. Each gets `more_options`. With a
    /// network each runs on a host of it, otherwise all use loopback.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        more_options: &[String],
        network: Option<Network>,
    ) -> Result<Self, Box<dyn Error>> {
        let template = folder.join("1");
        DatabaseProcess::initialize(program, &template)?;
        let addresses = Addresses::of(MEMBERS, network.is_some())?;
        let members = addresses.iter().zip(1..).map(|(&at, number)| {
            let folder = folder.join(number.to_string());
            fs::create_dir_all(&folder)?;
            let server = DatabaseProcess::on(program, &folder)?;
            let server = options(number, at, &addresses)
                .iter()
                .chain(more_options)
                .fold(server, DatabaseProcess::option);
            Ok::<_, std::io::Error>(Member { server, at })
        });
        let members = members.collect::<Result<_, _>>()?;
        let mut group = Self { members, network };

        group.start_member(0)?;
        let mut first = group.members[0].server.connect()?;
        SET_UP
            .iter()
            .try_for_each(|statement| first.query_drop(statement))?;
        group.members[0].server.stop()?;
        for number in 2..=MEMBERS {
            let folder = folder.join(number.to_string());
            DatabaseProcess::copy(&template, &folder)?;
            // It contains the server's UUID. Each server creates a new one.
            fs::remove_file(folder.join("data/auto.cnf"))?;
        }
        group
            .indices()
            .try_for_each(|index| group.start_member(index))?;
        group.bootstrap(0)?;
        group.indices().try_for_each(|index| group.join(index))?;
        Ok(group)
    }

    /// Starts a member on its host.
    pub(crate) fn start_member(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        let mut start = || self.members[index].server.start();
        match &self.network {
            Some(network) => network.run_on(index, &mut start)??,
            None => start()?,
        }
        Ok(())
    }

    /// The network of the members' hosts.
    pub(crate) fn network(&self) -> Result<&Network, &'static str> {
        let network = self.network.as_ref();
        network.ok_or("the members have no network of their own")
    }

    /// Starts all members after all have ended, and bootstraps the group from one of them, as an operator does.
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.indices()
            .try_for_each(|index| self.start_member(index))?;
        let first = self.most_advanced()?;
        self.bootstrap(first)
    }

    /// The index of the member that has all transactions that any member has executed or received.
    fn most_advanced(&self) -> Result<usize, Box<dyn Error>> {
        let mut known = Vec::new();
        for member in &self.members {
            let transactions: Option<String> = member.server.connect()?.query_first(
                "SELECT CONCAT_WS(',', @@GLOBAL.gtid_executed, MAX(received_transaction_set))
                 FROM performance_schema.replication_connection_status
                 WHERE channel_name = 'group_replication_applier'",
            )?;
            known.push(transactions.unwrap_or_default());
        }
        let mut calculator = self.members[0].server.connect()?;
        let all = known.join(",");
        for (index, known) in known.iter().enumerate() {
            let has_all: Option<bool> =
                calculator.exec_first("SELECT GTID_SUBSET(?, ?)", (&all, known))?;
            if has_all == Some(true) {
                return Ok(index);
            }
        }
        Err("each member lacks transactions that another has".into())
    }

    /// Bootstraps the group from this member, which must have all transactions of the others. They join afterwards.
    fn bootstrap(&self, first: usize) -> Result<(), Box<dyn Error>> {
        let mut connection = self.members[first].server.connect()?;
        connection.query_drop("SET GLOBAL group_replication_bootstrap_group = ON")?;
        connection.query_drop("START GROUP_REPLICATION")?;
        connection.query_drop("SET GLOBAL group_replication_bootstrap_group = OFF")?;
        Ok(())
    }

    pub(crate) fn version(&self) -> Result<String, Box<dyn Error>> {
        let mut connection = self.members[0].server.connect()?;
        let version: Option<String> = connection.query_first("SELECT VERSION()")?;
        Ok(format!("MySQL {}", version.unwrap_or_default()))
    }

    /// The URLs of all members, separated by commas, as the server accepts them.
    pub(crate) fn urls(&self) -> String {
        let url = |member: &Member| member.url(DatabaseProcess::NAME);
        self.members.iter().map(url).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.members.len()
    }

    /// Connects to a member's database, without a timeout, because reading all messages takes long.
    pub(crate) fn session(&self, index: usize) -> Result<Conn, mysql::Error> {
        let url = self.members[index].url(DatabaseProcess::NAME);
        Conn::new(Opts::from_url(&url)?)
    }

    /// Waits for a primary that accepts writes. `except` is not asked, because it may be frozen.
    pub(crate) fn primary(&self, except: Option<usize>) -> Result<usize, Box<dyn Error>> {
        let mut found = None;
        wait_until(ELECTION_TIMEOUT, || {
            let mut asked = self.indices().filter(|&index| Some(index) != except);
            found = asked.find(|&index| self.members[index].is_primary().unwrap_or(false));
            Ok(found.is_some())
        })?;
        Ok(found.ok_or_else(|| format!("no new primary after {ELECTION_TIMEOUT:?}"))?)
    }

    /// Lets a running server join, and waits until it is a full member.
    pub(crate) fn join(&self, index: usize) -> Result<(), Box<dyn Error>> {
        // Errors are retried: it may be busy, or be joining by itself already.
        let mut last = None;
        let joined = wait_until(JOIN_TIMEOUT, || {
            let joined = self.members[index].join();
            Ok(joined.unwrap_or_else(|error| {
                last = Some(error);
                false
            }))
        });
        if joined? {
            return Ok(());
        }
        Err(format!("member {} does not join: {last:?}", index + 1).into())
    }
}
