//! The main job on a MySQL cluster: three members in Group Replication with one primary, two replicas that know all three,
//! and the client as judge. On request the primary fails again and again meanwhile, in one of several ways.
//!
//! All is its own, on free ports of loopback, and gone at the end. `./run.sh cluster` builds all and calls this; its parts
//! in reading order:
//!
//! * `arguments.rs`: options.
//! * `member.rs`: a member: where it is, and what it is told.
//! * `group.rs`: all of them, and who is primary.
//! * `failover.rs`: how a primary fails and comes back, and what of it is measured.
//! * `load.rs`: the client; what was answered must be on every member.
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
use crate::load::main_job;

/// How many replicas work on the group.
const REPLICAS: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tool::main(|| run(&arguments))
}

/// Gives whether all was well.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let program = Arguments::program()?;
    let folder = Folder::make(&arguments.folder)?;
    let network = arguments.how.cuts().then(|| Network::of(MEMBERS));
    let mut group = Group::start(
        &program,
        &folder.0,
        &arguments.member_options,
        network.transpose()?,
    )?;
    say(&format!("a group of three: {}", group.version()?));
    if arguments.compare {
        let comparison = Comparison::run(&group, &program, &folder.0, arguments)?;
        show(&comparison);
        return Ok(comparison.is_well());
    }
    let replicas = Service::start_ready(REPLICAS, || messenger(&group.urls()))?;
    if arguments.failovers == 0 {
        return main_job(&replicas, arguments);
    }
    let mut failovers = Vec::new();
    for number in 1..=arguments.failovers {
        let failover = fail_over(&mut group, &replicas, arguments)?;
        say(&format!("{number}: {failover}"));
        let well = failover.is_well();
        failovers.push(failover);
        // After a loss the group is not what it was.
        if !well {
            break;
        }
    }
    conclude(&failovers, arguments.failovers);
    Ok(failovers.iter().all(Failover::is_well))
}

/// A folder that is removed at the end; at the beginning what an interrupted run has left is removed.
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
        // The next run tries again.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn conclude(failovers: &[Failover], of: u32) {
    let well = failovers
        .iter()
        .filter(|failover| failover.is_well())
        .count();
    let longest = |time: fn(&Failover) -> std::time::Duration| {
        failovers
            .iter()
            .map(time)
            .max()
            .unwrap_or_default()
            .as_secs_f64()
    };
    show(&format!(
        "{well} of {of} failovers: valid, all that was answered is on every member. Longest: {:.1} s to a new primary, \
         {:.1} s from then to stored messages",
        longest(|failover| failover.election),
        longest(|failover| failover.recovery),
    ));
}

#[expect(clippy::print_stdout, reason = "the result")]
fn show(result: &impl std::fmt::Display) {
    println!("{result}");
}
