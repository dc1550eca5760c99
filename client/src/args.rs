//! The command line: all options, each with its environment variable and its help text.

mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use self::target::Target;
use self::target::Users;
use crate::report::{OutputFormat, Threshold};

const EXAMPLES: &str = "\
Examples:
  client http://127.0.0.1:8001 http://127.0.0.1:8002
  client -c 200 -n 1000 --seed 7 http://127.0.0.1:8001
  client -z 30s -q 2000 --threshold 'p99<20ms' --threshold failed=0 http://127.0.0.1:8001
  client --history run.jsonl --report run.html http://127.0.0.1:8001; client check run.jsonl
  client --output-format json -o a.json http://127.0.0.1:8001; client compare a.json b.json

Exit status:
  0    every promise that could be judged was kept
  1    a promise is broken, whatever else went wrong: the output shows the contradiction
  2    the command line is wrong
  3    it could not be done: no replica could be reached, a file could not be written
  4    valid, but a --threshold was missed
  5    unknown: nothing could be judged, as no request was answered
  130  interrupted by Ctrl-C, and valid so far";

/// Sends messages to replicas of `DummyMessenger`, measures, and proves from the replies that every promise was kept, or
/// shows the contradiction.
#[derive(Debug, Parser)]
#[command(
    name = "client",
    version,
    after_help = EXAMPLES,
    max_term_width = 110,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl Cli {
    /// Parses the command line of this process, or ends the process with a message. The command line takes precedence over the
    /// environment, also if two options exclude each other.
    pub(crate) fn parse_process_arguments() -> Self {
        let mut command = without_empty_variables(Self::command());
        let matches = command.get_matches_mut();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let is_given = |option| matches.value_source(option) == Some(ValueSource::CommandLine);
        match (is_given("requests"), is_given("duration")) {
            (true, true) => command
                .error(
                    ErrorKind::ArgumentConflict,
                    "--requests and --duration exclude each other",
                )
                .exit(),
            (true, false) => cli.run.load.duration = None,
            (false, _) => {}
        }
        cli
    }
}

/// Treats empty variables as unset, because a compose file makes an empty one from `${VARIABLE:-}`.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |option: &Arg| {
        let value = option.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|option| {
            if is_empty(&option) {
                option.env(Resettable::Reset)
            } else {
                option
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// The commands beside the run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge a history that `--history` wrote, as the run did
    Check(CheckArgs),
    /// Compare two runs, from what `--output-format json` wrote
    Compare {
        /// The run before
        before: PathBuf,
        /// The run after
        after: PathBuf,
    },
    /// Plant one fault of each kind in made-up histories: is each found under its own name, and no other?
    Selftest {
        /// Histories for each fault
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rounds: u32,

        /// Seed of the histories
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print the JSON schema of `--output-format json`
    Schema,
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual pages: `client man | man -l -`
    Man,
}

/// The arguments of `client check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The history
    pub(crate) file: PathBuf,

    /// Others wrote to the same database meanwhile
    #[arg(long)]
    pub(crate) shared: bool,

    #[command(flatten)]
    pub(crate) print: PrintArgs,
}

/// The arguments of a run.
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
    pub(crate) judge: JudgeArgs,

    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

/// The options that shape the load.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Coroutines; each sends one request after the other
    #[arg(short, long, default_value_t = 50, env = "CLIENT_CONCURRENCY", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,

    /// Requests of each coroutine; with -q on average. All are kept until they are judged, in about 120 bytes each: a
    /// million takes 120 MB, also in a timed run
    #[arg(short = 'n', long, default_value_t = 100, env = "CLIENT_REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,

    /// Send for so long, instead of a number of requests. With -q: send what is due in this time, however long that takes
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

    /// Characters of each text, instead of a few words. Up to 4096; each text begins with what makes it unique
    #[arg(long, env = "CLIENT_TEXT_LENGTH", value_name = "CHARS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) text_length: Option<u16>,

    /// Seed of the plan: who sends which words to which replica; random, and printed, by default. At most 2^53 - 1, which
    /// every JSON reader keeps exactly. A fresh tag in each text keeps the texts of two runs apart, also with one seed
    #[arg(long, env = "CLIENT_SEED", value_parser = target::seed)]
    pub(crate) seed: Option<u64>,

    /// Seconds until a request without an answer is given up; its outcome is then unknown
    #[arg(short, long, default_value = "10", env = "CLIENT_TIMEOUT", value_name = "TIME", value_parser = target::duration)]
    pub(crate) timeout: Duration,

    /// Seconds until a connection attempt is given up
    #[arg(long, default_value = "5", env = "CLIENT_CONNECT_TIMEOUT", value_name = "TIME", value_parser = target::duration)]
    pub(crate) connect_timeout: Duration,

    /// How often a request that failed or has an unknown outcome is repeated, on another replica where there is one; but
    /// not after a 4xx that refuses it, nor after a 200 that calls itself JSON. With this every request carries an
    /// `Idempotency-Key`, the same on its repetitions; without it, none does, and nothing is ever repeated
    #[arg(long, default_value_t = 0, env = "CLIENT_RETRIES", value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) retries: u8,
}

/// The options that concern the judge.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judge")]
pub(crate) struct JudgeArgs {
    /// Others write to the same database meanwhile: their messages are no fault
    #[arg(long, env = "CLIENT_SHARED", value_parser = BoolishValueParser::new())]
    pub(crate) shared: bool,

    /// Only measure: the replies are not looked at
    #[arg(long, env = "CLIENT_NO_CHECK", value_parser = BoolishValueParser::new())]
    pub(crate) no_check: bool,

    /// A figure that must be met, else the exit status is 4: mean, min, max or a percentile like p99.9 of the successes'
    /// latencies, with a unit of time; throughput (messages/s); sent, ok, failed or unknown. As often as you like
    #[arg(
        long,
        env = "CLIENT_THRESHOLD",
        value_name = "FIGURE<VALUE",
        value_delimiter = ','
    )]
    pub(crate) threshold: Vec<Threshold>,
}

/// The options that say how results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct PrintArgs {
    /// For a person, for a program, or one line for each request
    #[arg(long, value_enum, ignore_case = true, default_value_t = OutputFormat::Text, env = "CLIENT_OUTPUT_FORMAT")]
    pub(crate) output_format: OutputFormat,

    /// Write the results to a file instead of stdout
    #[arg(short, long, env = "CLIENT_OUTPUT", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// No colors; the variable `NO_COLOR` says the same
    #[arg(long, env = "CLIENT_NO_COLOR", value_parser = BoolishValueParser::new())]
    pub(crate) no_color: bool,
}

/// The options that say what is kept beside the results.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct RecordArgs {
    /// Write every request and reply to a file of JSON lines, for `client check`
    #[arg(long, env = "CLIENT_HISTORY", value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,

    /// Write a page with charts and the contradictions: one file, no network
    #[arg(long, env = "CLIENT_REPORT", value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// No progress bar and no warnings
    #[arg(long, env = "CLIENT_QUIET", value_parser = BoolishValueParser::new())]
    pub(crate) quiet: bool,
}
