//! A replica for one test.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};

use super::{Database, HttpClient, PATIENCE};
use crate::{Service, messenger};

/// A replica for one test. A step that fails panics. If the test fails, the replica's log is printed.
#[derive(Debug)]
pub struct Replica(Service);

impl Replica {
    /// Starts one on a database, and waits until it is ready.
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    /// Starts one with options, and waits until it is ready.
    pub fn start_with(database: &Database, options: &[&str]) -> Self {
        Self::start_at(&database.url(), options)
    }

    /// Starts one on the database at a URL, and waits until it is ready.
    pub fn start_at(database_url: &str, options: &[&str]) -> Self {
        let mut replica = Self::spawn(database_url, options);
        replica.wait_until_ready();
        replica
    }

    /// Starts one on the database at a URL, without waiting.
    pub fn spawn(database_url: &str, options: &[&str]) -> Self {
        let mut command = messenger(database_url).expect("tests of the server build it");
        Self::run(command.args(options))
    }

    /// Starts a server by its command, without waiting.
    pub fn run(command: &mut Command) -> Self {
        Self(Service::start(command, None).expect("the server's binary can be started"))
    }

    /// Waits until it is ready.
    pub fn wait_until_ready(&mut self) {
        self.0
            .wait_until_ready()
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the next log line that contains `mark`, and returns the text after it.
    pub fn wait_for_line(&self, mark: &str) -> String {
        let line = self.0.wait_for_line(mark);
        line.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.process.id()
    }

    /// Its whole log so far.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.0.address().expect("the replica is ready")
    }

    /// Opens a new connection of an HTTP client.
    pub fn client(&self) -> HttpClient {
        HttpClient::connect(self.address())
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.0.process.terminate().expect("it runs");
    }

    /// Kills it (SIGKILL), as a crash does.
    pub fn kill(&mut self) {
        self.0.process.kill().expect("it runs");
    }

    /// Stops all its threads until [`Self::thaw`] (SIGSTOP).
    pub fn freeze(&self) {
        self.0.process.freeze().expect("it runs");
    }

    /// Continues it after [`Self::freeze`] (SIGCONT).
    pub fn thaw(&self) {
        self.0.process.thaw().expect("it runs");
    }

    /// Waits until the process has ended and its log is read.
    pub fn exit_status(&mut self) -> ExitStatus {
        let status = self.0.wait_timeout(PATIENCE).expect("it is our child");
        status.expect("the server ends in time")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = write!(io::stderr(), "log of the server:\n{}", self.log());
        }
    }
}
