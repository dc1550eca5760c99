//! Options, each from a flag or from the environment.

use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures the server against a constant reply and against one transaction per message. Prints one table.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Arguments {
    /// The results as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Instead of the three servers: the server alone along one condition after the other, all or those named with
    /// commas between. All take a quarter of an hour, and some gigabytes of disk
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "coroutines,replicas,users,texts,messages,distance,rows", value_delimiter = ',', value_name = "CURVES")]
    pub(crate) curves: Vec<Curve>,

    /// Rounds; each measures everybody once
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// How long one measurement lasts
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) time: Duration,

    /// Rows of the largest table of the curves
    #[arg(long, default_value_t = 5_000_000, value_name = "ROWS")]
    pub(crate) rows: u64,

    /// The database server, as `mysql://user:password@host:3306/name`. Databases whose names begin with this name are
    /// created on it, and dropped at the end
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: String,

    /// Process id of the database server, to read its CPU time; by default from its own pid file, if that is readable
    #[arg(long, env = "DATABASE_PID", value_name = "PID")]
    pub(crate) database_pid: Option<u32>,
}

/// What changes from one point of a curve to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Curve {
    /// 1, 10, 50, 200, 1,000
    Coroutines,
    /// 1, 2, 4
    Replicas,
    /// 10, and 100,000 of whom each has sent
    Users,
    /// Of 20 and 4,000 characters
    Texts,
    /// Ten thousand and a million since the replicas were started: their memory
    Messages,
    /// Round trips to the database of 0, 1, 5, 20 ms
    Distance,
    /// In the table: none, a fifth of --rows, and --rows
    Rows,
}
