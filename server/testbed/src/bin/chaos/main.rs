//! Breaks what the server stands on, in a random order that can be repeated, while the client puts load on it and judges:
//! replicas and database are killed, frozen and restarted, connections are cut in the middle of transactions, locks held.
//!
//! It starts a database server of its own (never the one at `DATABASE_URL`), two replicas, each with a proxy before the
//! database, and the real client with `--retries`. At the end the client's verdict must be "valid", the view
//! `ordering_violations` empty, and all that was answered must be in the tables. Its parts in reading order:
//!
//! * `arguments.rs`: options.
//! * `plan.rs`: which fault follows which, from a seed; pure.
//! * `scene.rs`: database, proxies, replicas, the client.
//! * `breakage.rs`: each fault, done to the scene.
//! * `report.rs`: what each fault cost the clients.

mod arguments;
mod breakage;
mod plan;
mod report;
mod scene;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use clap::Parser;
use testbed::interruption::{self, Interrupted};
use testbed::tool::{self, say};
use testbed::{Audit, program, read_history};

use crate::arguments::{Arguments, MOST_SEED};
use crate::plan::{Fault, LONGEST_FAULT, Plan};
use crate::scene::Scene;

/// The client repeats what is under way when its time is over.
const PATIENCE: Duration = Duration::from_secs(300);

/// A fault that was done.
struct Done {
    fault: Fault,
    began: SystemTime,
    /// How often it came to pass, where that is left to chance.
    times: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tool::main(|| run(&arguments))
}

/// Gives whether every promise was kept. What it wrote is kept if one was not.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(..=MOST_SEED));
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let folder = arguments.folder.join(format!("{seed}"));
    let valid = play(arguments, seed, time, &folder);
    if matches!(&valid, Ok(true)) || matches!(&valid, Err(error) if error.is::<Interrupted>()) {
        fs::remove_dir_all(&folder)?;
    }
    valid
}

#[expect(clippy::print_stdout, reason = "the results")]
fn play(
    arguments: &Arguments,
    seed: u64,
    time: Duration,
    folder: &Path,
) -> Result<bool, Box<dyn Error>> {
    let mut scene = Scene::set(arguments, folder)?;
    say(&format!(
        "{}, {} in {}",
        arguments.again(seed),
        scene.version,
        folder.display()
    ));

    let history = folder.join("history.jsonl");
    let client = scene.client(&history, arguments.rate, seed, time)?;
    let faults = break_things(&mut scene, seed, time)?;
    say("no more faults; waiting for the client");
    let client = client.finish(PATIENCE, || ())?;
    let requests = read_history(&history)?;
    let audit = Audit::of(&requests, &mut scene.session()?, 1)?;
    println!("{}", report::report(&faults, &requests, &client, &audit));
    if !scene.all_alive()? {
        say("a replica has ended that nobody ended");
    } else if client.is_valid() && audit.is_clean() {
        say(&format!("valid: {}", arguments.again(seed)));
        return Ok(true);
    }
    if !client.is_valid() {
        explain(&history)?;
    }
    say(&format!(
        "INVALID: repeat it with {}; logs, data and history are in {}",
        arguments.again(seed),
        folder.display()
    ));
    Ok(false)
}

/// Does one fault after the other, as long as there is time for the longest.
fn break_things(scene: &mut Scene, seed: u64, time: Duration) -> Result<Vec<Done>, Box<dyn Error>> {
    let start = Instant::now();
    let mut done = Vec::new();
    for step in Plan::new(seed, scene.replicas.len()) {
        interruption::sleep(step.pause)?;
        if start.elapsed() + LONGEST_FAULT > time {
            break;
        }
        say(&format!(
            "{:5.1} s  {}",
            start.elapsed().as_secs_f64(),
            step.fault
        ));
        let began = SystemTime::now();
        let times = scene.suffer(&step.fault)?;
        done.push(Done {
            fault: step.fault,
            began,
            times,
        });
    }
    Ok(done)
}

/// Says the client's contradictions, as it tells them.
fn explain(history: &Path) -> io::Result<()> {
    let checked = program("client")?.arg("check").arg(history).output()?;
    let history = history.display();
    say(&format!("the client's verdict, from {history}:"));
    say(&String::from_utf8_lossy(&checked.stdout));
    Ok(())
}
