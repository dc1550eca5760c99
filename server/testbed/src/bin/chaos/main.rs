//! Injects faults in a random, repeatable order while the client sends load and checks the replies: replicas and database are
//! killed, frozen and restarted, connections are cut in the middle of transactions, locks are held.
//!
//! It starts a private database server (never the one at `DATABASE_URL`), two replicas, each with a proxy before the database,
//! and the real client with `--retries`. At the end the client's verdict must be "valid", the view `ordering_violations` empty,
//! and all answered messages must be in the tables. Modules in reading order:
//!
//! * `arguments.rs`: options.
//! * `plan.rs`: the sequence of faults for a seed; pure.
//! * `system.rs`: the system under test: database, proxies, replicas; starts the client.
//! * `injection.rs`: injects each fault into the system.
//! * `report.rs`: how each fault affected requests.

mod arguments;
mod injection;
mod plan;
mod report;
mod system;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use clap::Parser;
use testbed::interruption::{self, Interrupted};
use testbed::tool::{self, say};
use testbed::{Audit, program, read_history};

use crate::arguments::{Arguments, MAX_SEED};
use crate::plan::{Fault, MAX_FAULT_TIME, Plan};
use crate::system::System;

/// How long the client may take to retry and finish its open requests when its duration is over.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(300);

/// A fault that was injected.
struct InjectedFault {
    fault: Fault,
    began: SystemTime,
    /// How often it occurred. For cuts at random bytes: how many were set.
    times: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tool::main(|| run(&arguments))
}

/// Returns whether every promise was kept. If not, the folder with data and logs is kept.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(..=MAX_SEED));
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let folder = arguments.folder.join(format!("{seed}"));
    let valid = run_in_folder(arguments, seed, time, &folder);
    if matches!(&valid, Ok(true)) || matches!(&valid, Err(error) if error.is::<Interrupted>()) {
        fs::remove_dir_all(&folder)?;
    }
    valid
}

#[expect(clippy::print_stdout, reason = "the results")]
fn run_in_folder(
    arguments: &Arguments,
    seed: u64,
    time: Duration,
    folder: &Path,
) -> Result<bool, Box<dyn Error>> {
    let mut system = System::start(arguments, folder)?;
    say(&format!(
        "{}, {} in {}",
        arguments.repeat_options(seed),
        system.version,
        folder.display()
    ));

    let history = folder.join("history.jsonl");
    let client = system.client(&history, arguments.rate, seed, time)?;
    let faults = inject_faults(&mut system, seed, time)?;
    say("no more faults; waiting for the client");
    let client = client.finish(CLIENT_TIMEOUT, || ())?;
    let requests = read_history(&history)?;
    let audit = Audit::of(&requests, &mut system.session()?, 1)?;
    println!("{}", report::report(&faults, &requests, &client, &audit));
    if !system.all_running()? {
        say("a replica has ended that nobody ended");
    } else if client.is_valid() && audit.is_clean() {
        say(&format!("valid: {}", arguments.repeat_options(seed)));
        return Ok(true);
    }
    if !client.is_valid() {
        print_contradictions(&history)?;
    }
    say(&format!(
        "INVALID: repeat it with {}; logs, data and history are in {}",
        arguments.repeat_options(seed),
        folder.display()
    ));
    Ok(false)
}

/// Injects one fault after the other, as long as there is time for the longest.
fn inject_faults(
    system: &mut System,
    seed: u64,
    time: Duration,
) -> Result<Vec<InjectedFault>, Box<dyn Error>> {
    let start = Instant::now();
    let mut done = Vec::new();
    for step in Plan::new(seed, system.replicas.len()) {
        interruption::sleep(step.pause)?;
        if start.elapsed() + MAX_FAULT_TIME > time {
            break;
        }
        say(&format!(
            "{:5.1} s  {}",
            start.elapsed().as_secs_f64(),
            step.fault
        ));
        let began = SystemTime::now();
        let times = system.inject(&step.fault)?;
        done.push(InjectedFault {
            fault: step.fault,
            began,
            times,
        });
    }
    Ok(done)
}

/// Prints the contradictions that `client check` finds in the history.
fn print_contradictions(history: &Path) -> io::Result<()> {
    let checked = program("client")?.arg("check").arg(history).output()?;
    let history = history.display();
    say(&format!("the client's verdict, from {history}:"));
    say(&String::from_utf8_lossy(&checked.stdout));
    Ok(())
}
