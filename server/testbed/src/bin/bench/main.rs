//! Measures the server against two others on the same edge, in one run on one machine:
//!
//! * (a) the server as it ships,
//! * (b) `constant`: the same edge with a constant reply from memory: a server that stores cannot be faster,
//! * (c) `one_per_message`: the same tables and promises, one transaction per message.
//!
//! The rounds are interleaved, a b c a b c …, so that other load on the machine affects all alike; the result is the ratio within
//! a round. `./run.sh bench` builds everything, starts the database and calls this. Modules in reading order:
//!
//! * `arguments.rs`: options.
//! * `comparisons.rs`: the three compared, and how each is started.
//! * `curves.rs`: the server alone, along one condition after the other.
//! * `database.rs`: databases of its own, filled and dropped.
//! * `report.rs`: medians, ratios, tables, JSON.

mod arguments;
mod comparisons;
mod curves;
mod database;
mod report;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use testbed::tool;

use crate::arguments::Arguments;
use crate::comparisons::Bench;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tool::main(|| run(&arguments))
}

#[expect(clippy::print_stdout, reason = "the results")]
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    // A thousand coroutines need a thousand sockets. Child processes inherit the limit.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut bench = Bench::prepare(arguments)?;
    let report = if arguments.curves.is_empty() {
        bench.three_servers()?
    } else {
        bench.curves(&arguments.curves)?
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(true)
}
