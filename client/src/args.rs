//! The command line: one struct, each option with its environment variable and its reason.

mod target;

use std::time::Duration;

use clap::{Args, Parser};

pub(crate) use self::target::Target;

const EXAMPLES: &str = "\
Examples:
  client http://127.0.0.1:8001 http://127.0.0.1:8002
  client -c 200 -n 1000 --seed 7 http://127.0.0.1:8001

Exit status:
  0  every promise that could be judged was kept
  1  a promise is broken: the output shows the contradiction
  2  the command line is wrong
  3  the run could not take place: no replica could be reached, a file could not be written
  5  unknown: nothing could be judged, as no request was answered
130  interrupted by Ctrl-C, and valid so far";

/// Sends messages to replicas of `DummyMessenger`, measures, and proves from the replies that every promise was kept, or
/// shows the contradiction.
#[derive(Debug, Parser)]
#[command(name = "client", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What a run sends, how, and what it prints.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Replicas: each request goes to a random one. `http://HOST:PORT` means its `/messages`
    #[arg(
        value_name = "URL",
        required = true,
        env = "CLIENT_URLS",
        value_delimiter = ' '
    )]
    pub(crate) urls: Vec<Target>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The load.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Coroutines; each sends one request after the other
    #[arg(short, long, default_value_t = 50, env = "CLIENT_CONCURRENCY", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,

    /// Requests of each coroutine
    #[arg(short = 'n', long, default_value_t = 100, env = "CLIENT_REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,

    /// Send for so long, instead of a number of requests
    #[arg(short = 'z', long, env = "CLIENT_DURATION", value_name = "TIME", value_parser = target::duration)]
    pub(crate) duration: Option<Duration>,

    /// Requests a second over all, sent when they are due whether or not earlier ones were answered, as far as the
    /// coroutines go; latencies then count from when a request was due
    #[arg(short = 'q', long, env = "CLIENT_RATE", value_name = "R", value_parser = target::rate)]
    pub(crate) rate: Option<f64>,

    /// Requests of each coroutine before these: judged, but not in the figures
    #[arg(
        short,
        long,
        default_value_t = 0,
        env = "CLIENT_WARMUP",
        value_name = "N"
    )]
    pub(crate) warmup: u32,

    /// Users: how many, or their names with commas between
    #[arg(long, default_value = "10", env = "CLIENT_USERS", value_parser = target::users)]
    pub(crate) users: Users,

    /// Seed of the plan: who sends which words to which replica; random, and printed, by default. A fresh tag in each
    /// text keeps the texts of two runs apart, also with one seed
    #[arg(long, env = "CLIENT_SEED")]
    pub(crate) seed: Option<u64>,

    /// Seconds until a request without an answer is given up; its outcome is then unknown
    #[arg(short, long, default_value = "10", env = "CLIENT_TIMEOUT", value_name = "TIME", value_parser = target::duration)]
    pub(crate) timeout: Duration,

    /// Seconds until a connection attempt is given up
    #[arg(long, default_value = "5", env = "CLIENT_CONNECT_TIMEOUT", value_name = "TIME", value_parser = target::duration)]
    pub(crate) connect_timeout: Duration,

    /// How often a request that failed or has an unknown outcome is repeated, on another replica where there is one.
    /// With this every request carries an `Idempotency-Key`, the same on its repetitions; without it, none does, and
    /// nothing is ever repeated
    #[arg(long, default_value_t = 0, env = "CLIENT_RETRIES", value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) retries: u8,
}

/// What is checked and printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judge and output")]
pub(crate) struct OutputArgs {
    /// Others write to the same database meanwhile: their messages are no fault
    #[arg(long, env = "CLIENT_SHARED")]
    pub(crate) shared: bool,

    /// Only measure: the replies are not looked at
    #[arg(long, env = "CLIENT_NO_CHECK")]
    pub(crate) no_check: bool,

    /// No progress bar and no warnings
    #[arg(long, env = "CLIENT_QUIET")]
    pub(crate) quiet: bool,
}

/// Names of the users that send.
#[derive(Debug, Clone)]
pub(crate) struct Users(pub(crate) Vec<String>);
