//! Options.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use testbed::DatabaseProcess;

/// The main job on a group of three MySQL servers, with failovers on request.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
pub(crate) struct Arguments {
    /// How often the primary fails, each time under the load of a client run of its own
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) failovers: u32,

    /// How it fails
    #[arg(long, value_enum, default_value = "kill")]
    pub(crate) how: FailureMode,

    /// Instead: the group's throughput against that of a single server, of one transaction per message on the group, and of
    /// the group where COMMIT waits for all members
    #[arg(long, conflicts_with_all = ["failovers", "client"])]
    pub(crate) compare: bool,

    /// Rounds of --compare; each measures all of them
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub(crate) rounds: u32,

    /// How long each is measured in a round
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) time: Duration,

    /// Messages in a second while the primary fails; without it as many as 50 coroutines send
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<u32>,

    /// How long the load goes on before, and after
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) calm: Duration,

    /// An option for every member, like `--group-replication-consistency=EVENTUAL`
    #[arg(
        long = "member-option",
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    pub(crate) member_options: Vec<String>,

    /// Where the data of the members and the logs are kept meanwhile; what is in it is removed
    #[arg(long, default_value = ".run/cluster", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,

    /// For the client
    #[arg(last = true, value_name = "CLIENT OPTIONS")]
    pub(crate) client: Vec<String>,
}

/// How the primary fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailureMode {
    /// kill -9, started again later
    Kill,
    /// SIGSTOP, and SIGCONT when the group has another primary
    Freeze,
    /// The group is asked to make another member the primary
    Switch,
    /// All three members are stopped and started, one after the other, the primary last
    Restart,
    /// Its host is cut off from all, and back later; takes root, for network namespaces
    Cut,
    /// Its host is cut off from the other members, while clients still reach it; takes root as well
    Isolate,
    /// kill -9 of all three at once; the operator lets the one with most transactions begin the group again
    Crash,
}

impl FailureMode {
    /// Whether the search for a new primary excludes the old one, which may not respond or still report itself as primary.
    pub(crate) fn excludes_old_primary(self) -> bool {
        !matches!(self, Self::Switch | Self::Crash)
    }

    /// Whether each member needs a virtual host of its own.
    pub(crate) fn needs_hosts(self) -> bool {
        matches!(self, Self::Cut | Self::Isolate)
    }
}

impl Arguments {
    /// The program of a MySQL server that supports Group Replication.
    pub(crate) fn program() -> Result<PathBuf, Box<dyn Error>> {
        let missing = "a group needs MySQL 8.4 or later with the plugin group_replication, and none was found: install it \
                       (mysql-server of mysql.com, or of Debian unstable), or let DATABASE_SERVER name its mysqld";
        let program = DatabaseProcess::find_program(["mysqld", "mariadbd"]).ok_or(missing)?;
        let version = DatabaseProcess::version(&program)?;
        if version.contains("MariaDB") {
            return Err(format!("{missing}. This is {version}").into());
        }
        Ok(program)
    }
}
