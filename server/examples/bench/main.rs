//! Measures the server against two others on the same edge, in one run on one machine:
//!
//! * (a) the server as it ships,
//! * (b) `constant`: the same edge answering from memory; what stores cannot be faster,
//! * (c) `one_per_message`: the same tables and promises, one transaction a message.
//!
//! The rounds are interleaved, a b c a b c …, so that whatever else the machine does meets all alike; what counts is the
//! ratio within a round. `./run.sh bench` builds all, opens the database and calls this; its parts in reading order:
//!
//! * `arguments.rs`: options.
//! * `comparisons.rs`: the three compared, and how each is started.
//! * `curves.rs`: the server alone, along one condition after the other.
//! * `measure.rs`: rounds, and what is read in each.
//! * `database.rs`: databases of its own, filled and dropped.
//! * `distance.rs`: a way to the database that takes time.
//! * `processes.rs`: what is started is ended; CPU time and memory as the kernel counts them.
//! * `report.rs`: medians, ratios, tables, JSON.

mod arguments;
mod comparisons;
mod curves;
mod database;
mod distance;
mod measure;
mod processes;
mod report;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use faults::interruption::{self, Interrupted};

use crate::arguments::Arguments;
use crate::comparisons::Bench;

const FAILED: u8 = 1;
/// As a shell says it of a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[expect(clippy::print_stderr, reason = "where this program says why it ends")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(FAILED)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the results")]
fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // A thousand callers have a thousand sockets; what is started inherits the limit.
    rlimit::increase_nofile_limit(u64::MAX)?;
    interruption::listen()?;
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
    Ok(())
}
