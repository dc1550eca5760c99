//! Programs that are built beside this one, started as services, and waited for until they say that they are ready.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use parking_lot::Mutex;

use crate::Process;
use crate::interruption::{self, PAUSE};

/// A service that is not ready after this never will be: it gives up a database that does not come earlier.
const START: Duration = Duration::from_secs(60);
/// Stands in the log line that says that a service is ready, before its address.
const READY: &str = "ready address=";

/// The command line of a program that cargo has built beside this one; `examples/NAME` is an example.
///
/// # Errors
/// If it is not built.
pub fn program(name: &str) -> io::Result<Command> {
    let folder = build_folder()?;
    let program = folder.join(name);
    if program.is_file() {
        return Ok(Command::new(program));
    }
    let folder = folder.display();
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("there is no {name} in {folder}: build it with `cargo build --bins --examples`"),
    ))
}

/// The folder that this program was built into. Tests stand in a folder of it.
pub(crate) fn build_folder() -> io::Result<PathBuf> {
    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    Ok(folder)
}

/// A process that serves. Killed at the end, if it still runs.
#[derive(Debug)]
pub struct Service {
    /// The process itself.
    pub process: Process,
    address: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Service {
    /// Starts a command that becomes a service. What it logs to stderr is kept, and appended to `file`.
    pub fn start(command: &mut Command, file: Option<File>) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(command)?;
        let stderr = process.child().stderr.take();
        let stderr = stderr.ok_or_else(|| io::Error::other("a process without its pipe"))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let all = Arc::clone(&log);
        thread::spawn(move || keep(stderr, &all, &sender, file));
        Ok(Self {
            process,
            address: None,
            log,
            lines,
        })
    }

    /// Starts several of the same, and waits until all are ready.
    ///
    /// # Errors
    /// If one does not become ready, with its log.
    pub fn start_ready(
        count: usize,
        command: impl Fn() -> io::Result<Command>,
    ) -> Result<Vec<Self>, Box<dyn Error>> {
        let start = |_| Self::start(&mut command()?, None);
        let mut services = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
        for service in &mut services {
            service.wait_until_ready()?;
        }
        Ok(services)
    }

    /// Waits until it says that it is ready, and where it listens.
    ///
    /// # Errors
    /// If it does not in time, with its log.
    pub fn wait_until_ready(&mut self) -> Result<(), Box<dyn Error>> {
        let address = self.wait_for_line(READY)?;
        self.address = Some(address.parse()?);
        Ok(())
    }

    /// Gives what stands behind `mark` in the next line of the log that has it.
    ///
    /// # Errors
    /// If there is none in time, with its log.
    pub fn wait_for_line(&self, mark: &str) -> Result<String, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let why = match self.lines.recv_timeout(PAUSE) {
                Ok(line) => match line.split_once(mark) {
                    Some((_, rest)) => return Ok(rest.to_owned()),
                    None => continue,
                },
                Err(RecvTimeoutError::Disconnected) => "the service has ended",
                Err(RecvTimeoutError::Timeout) if start.elapsed() > START => "it takes too long",
                Err(RecvTimeoutError::Timeout) => {
                    interruption::check()?;
                    continue;
                }
            };
            // A signal from the terminal reaches both.
            interruption::check()?;
            return Err(format!("no line with {mark:?}, {why}; its log:\n{}", self.log()).into());
        }
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.address
            .ok_or_else(|| io::Error::other("the service is not ready"))
    }

    /// Its URL.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.address()?))
    }

    /// Waits for the end of the process, and of its log; `None` if it does not come in time.
    pub fn end(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let status = self.process.end(patience)?;
        if status.is_some() {
            while self.lines.recv_timeout(patience).is_ok() {}
        }
        Ok(status)
    }
}

/// Keeps the lines of a log until it ends.
fn keep(stderr: ChildStderr, log: &Mutex<String>, lines: &Sender<String>, mut file: Option<File>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(file) = &mut file {
            // The log in memory has it.
            let _ = writeln!(file, "{line}");
        }
        log.lock().extend([&line, "\n"]);
        // Nobody may wait for lines any more.
        let _ = lines.send(line);
    }
}
