//! The servers under test.

use std::error::Error;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faults::{Process, is_ready};

use faults::interruption::{PAUSE, sleep};

const REPLICAS: usize = 2;
const START: Duration = Duration::from_secs(60);

/// Two of the same.
pub(crate) struct Replicas {
    _processes: Vec<Process>,
    addresses: Vec<SocketAddr>,
}

impl Replicas {
    /// Of the server as it ships, on the database at these URLs.
    pub(crate) fn of_server(
        binaries: &Path,
        urls: &str,
        log: &Path,
    ) -> Result<Self, Box<dyn Error>> {
        Self::start(log, |address| {
            let mut command = Command::new(binaries.join("server"));
            command
                .args(["--listen", &address.to_string()])
                .env("DATABASE_URL", urls);
            command
        })
    }

    /// `program` makes the command line for an address. Waits until they are ready; what they say goes to `log`.
    pub(crate) fn start(
        log: &Path,
        program: impl Fn(SocketAddr) -> Command,
    ) -> Result<Self, Box<dyn Error>> {
        let output = File::create(log)?;
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..REPLICAS {
            // Free now, and hardly taken before the server is there.
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let mut command = program(address);
            command.stdin(Stdio::null()).stderr(output.try_clone()?);
            processes.push(Process::start(&mut command)?);
            addresses.push(address);
        }
        let start = Instant::now();
        while !addresses.iter().all(|&address| is_ready(address)) {
            if start.elapsed() > START {
                let log = fs::read_to_string(log)?;
                return Err(format!("the replicas do not start:\n{log}").into());
            }
            sleep(PAUSE)?;
        }
        Ok(Self {
            _processes: processes,
            addresses,
        })
    }

    /// For the client.
    pub(crate) fn urls(&self) -> impl Iterator<Item = String> {
        self.addresses
            .iter()
            .map(|address| format!("http://{address}"))
    }
}
