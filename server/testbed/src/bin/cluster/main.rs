//! Runs the client against two replicas on a MySQL cluster: three members in Group Replication with one primary. On request the
//! primary fails repeatedly meanwhile, in one of several ways.
//!
//! All processes are started here, on free ports of loopback, and ended at the end. `./run.sh cluster` builds everything and
//! calls this. Modules in reading order:
//!
//! * `arguments.rs`: options.
//! * `member.rs`: one member: its addresses and options.
//! * `group.rs`: all members; finds the primary.
//! * `failover.rs`: makes the primary fail, brings it back, and measures the failover.
//! * `load.rs`: runs the client, and checks that every member has all answered messages.
//! * `comparison.rs`: what the group costs.

mod arguments;
mod comparison;
mod failover;
mod group;
mod load;
mod member;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use testbed::tool::{self, say};
use testbed::{Network, Service, messenger};

use crate::arguments::Arguments;
use crate::comparison::Comparison;
use crate::failover::{Failover, fail_over};
use crate::group::{Group, MEMBERS};
use crate::load::run_client;

/// Number of replicas that use the group.
const REPLICAS: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tool::main(|| run(&arguments))
}

/// Returns whether all was well.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let program = Arguments::program()?;
    let folder = Folder::make(&arguments.folder)?;
    let network = arguments.how.needs_hosts().then(|| Network::of(MEMBERS));
    let mut group = Group::start(
        &program,
        &folder.0,
        &arguments.member_options,
        network.transpose()?,
    )?;
    say(&format!("a group of three: {}", group.version()?));
    if arguments.compare {
        let comparison = Comparison::run(&group, &program, &folder.0, arguments)?;
        print(&comparison);
        return Ok(comparison.succeeded());
    }
    let replicas = Service::start_ready(REPLICAS, || messenger(&group.urls()))?;
    if arguments.failovers == 0 {
        return run_client(&replicas, arguments);
    }
    let mut failovers = Vec::new();
    for number in 1..=arguments.failovers {
        let failover = fail_over(&mut group, &replicas, arguments)?;
        say(&format!("{number}: {failover}"));
        let succeeded = failover.succeeded();
        failovers.push(failover);
        // The group is not in its initial state any more, so no further failover is measured.
        if !succeeded {
            break;
        }
    }
    print_summary(&failovers, arguments.failovers);
    Ok(failovers.iter().all(Failover::succeeded))
}

/// A folder that is removed on drop. If it exists at the beginning, left by an interrupted run, it is removed first.
struct Folder(PathBuf);

impl Folder {
    fn make(folder: &Path) -> io::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        Ok(Self(folder.canonicalize()?))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If this fails, the next run removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn print_summary(failovers: &[Failover], of: u32) {
    let succeeded = failovers
        .iter()
        .filter(|failover| failover.succeeded())
        .count();
    let longest = |time: fn(&Failover) -> std::time::Duration| {
        failovers
            .iter()
            .map(time)
            .max()
            .unwrap_or_default()
            .as_secs_f64()
    };
    print(&format!(
        "{succeeded} of {of} failovers: valid, all that was answered is on every member. Longest: {:.1} s to a new primary, \
         {:.1} s from then to stored messages",
        longest(|failover| failover.election),
        longest(|failover| failover.recovery),
    ));
}

#[expect(clippy::print_stdout, reason = "the result")]
fn print(result: &impl std::fmt::Display) {
    println!("{result}");
}
