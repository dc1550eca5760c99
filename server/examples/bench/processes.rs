//! What is started is ended; CPU time and memory as the kernel counts them.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faults::interruption::{self, PAUSE};
use faults::{Process, is_ready};

/// A server that is not ready after this never will be.
const START: Duration = Duration::from_secs(30);
/// `USER_HZ`: the unit of times in `/proc`, the same on all architectures that Rust has Linux for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server on a port of its own.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) process: Process,
    address: SocketAddr,
}

impl Replica {
    /// `command` makes the command line for an address. Waits until the server is ready.
    pub(crate) fn start(command: impl Fn(SocketAddr) -> Command) -> Result<Self, Box<dyn Error>> {
        // Free now, and hardly taken before the server is there: the kernel gives another port to each who asks.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = command(address);
        let mut process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
        let start = Instant::now();
        while !is_ready(address) {
            interruption::check()?;
            if let Some(status) = process.status()? {
                interruption::check()?;
                return Err(format!(
                    "{} ended at start with {status}; it has said why above",
                    command.get_program().display()
                )
                .into());
            }
            if start.elapsed() > START {
                return Err(format!(
                    "{} is not ready after {START:?}; is the database well?",
                    command.get_program().display()
                )
                .into());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(Self { process, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// In user mode and in the kernel, all threads.
    pub(crate) cpu_us: f64,
    /// It has ended, and its parent has not yet asked how.
    pub(crate) ended: bool,
}

/// `None` if there is no such process. Fields as in `man 5 proc_pid_stat`.
pub(crate) fn usage(process: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses, and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Usage {
        cpu_us: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND * 1e6,
        ended: *fields.first()? == "Z",
    })
}

/// Megabytes that are in memory now.
pub(crate) fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
