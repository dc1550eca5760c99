//! Starts programs of this workspace as services, and waits until they log that they are ready.

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
use crate::interruption::{self, POLL_INTERVAL};

/// Longer than a service itself waits for its database before it gives up.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Precedes the address in the log line of a service that is ready.
const READY_MARK: &str = "ready address=";

/// The command line of a program in the build folder of this one; `examples/NAME` is an example.
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

/// The build folder of this program. (Tests and examples are in subfolders of it.)
pub(crate) fn build_folder() -> io::Result<PathBuf> {
    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    Ok(folder)
}

/// A running service. It is killed on drop if it still runs.
#[derive(Debug)]
pub struct Service {
    /// The process itself.
    pub process: Process,
    address: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Service {
    /// Starts a service. Its log (stderr) is kept in memory, and appended to `file`.
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
        let for_thread = Arc::clone(&log);
        thread::spawn(move || collect_log(stderr, &for_thread, &sender, file));
        Ok(Self {
            process,
            address: None,
            log,
            lines,
        })
    }

    /// Starts so many services with the same command, and waits until all are ready.
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

    /// Waits until it logs that it is ready, with its address.
    ///
    /// # Errors
    /// If it does not become ready in time, with its log.
    pub fn wait_until_ready(&mut self) -> Result<(), Box<dyn Error>> {
        let address = self.wait_for_line(READY_MARK)?;
        self.address = Some(address.parse()?);
        Ok(())
    }

    /// Waits for the next log line that contains `mark`, and returns the text after it.
    ///
    /// # Errors
    /// If there is no such line in time, with its log.
    pub fn wait_for_line(&self, mark: &str) -> Result<String, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let reason = match self.lines.recv_timeout(POLL_INTERVAL) {
                Ok(line) => match line.split_once(mark) {
                    Some((_, rest)) => return Ok(rest.to_owned()),
                    None => continue,
                },
                Err(RecvTimeoutError::Disconnected) => "the service has ended",
                Err(RecvTimeoutError::Timeout) if start.elapsed() > START_TIMEOUT => {
                    "it takes too long"
                }
                Err(RecvTimeoutError::Timeout) => {
                    interruption::check()?;
                    continue;
                }
            };
            // A signal from the terminal reaches the service as well.
            interruption::check()?;
            return Err(
                format!("no line with {mark:?}, {reason}; its log:\n{}", self.log()).into(),
            );
        }
    }

    /// Its whole log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.address
            .ok_or_else(|| io::Error::other("the service is not ready"))
    }

    /// Its URL.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.address()?))
    }

    /// Waits until the process has ended and its log is read, and returns its exit status; `None` if it still runs then.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let status = self.process.wait_timeout(timeout)?;
        if status.is_some() {
            while self.lines.recv_timeout(timeout).is_ok() {}
        }
        Ok(status)
    }
}

/// Reads the lines of a log until its end.
fn collect_log(
    stderr: ChildStderr,
    log: &Mutex<String>,
    lines: &Sender<String>,
    mut file: Option<File>,
) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(file) = &mut file {
            // If this fails, the line is still in memory.
            let _ = writeln!(file, "{line}");
        }
        log.lock().extend([&line, "\n"]);
        // The receiver may be gone.
        let _ = lines.send(line);
    }
}
