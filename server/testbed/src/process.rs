//! A child process that can be killed, frozen and thawed, and is killed on drop; CPU time and memory of any process.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// The time between two checks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// `USER_HZ`, the unit of times in `/proc`: the same on all Linux architectures that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child process. It is killed on drop if it still runs.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If the program cannot be started; the error names it.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        Ok(Self(child))
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills it (SIGKILL), and waits until it is gone with its sockets and locks.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }

    /// Stops all its threads (SIGSTOP), and waits until they are stopped.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED)?;
        Ok(())
    }

    /// Continues it after [`Self::freeze`] (SIGCONT).
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Its exit status; `None` if it still runs.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for its end, and returns its exit status; `None` if it still runs after `timeout`.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if status.is_some() || start.elapsed() > timeout {
                return Ok(status);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The state of a process in `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time of all threads in microseconds, in user mode and in the kernel.
    pub cpu_us: f64,
    /// Whether it has ended but was not reaped yet (a zombie).
    pub ended: bool,
}

/// Reads the state of a process; `None` if there is no such process. Fields: `man 5 proc_pid_stat`.
#[must_use]
pub fn usage(process: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in parentheses and may contain any characters.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Usage {
        cpu_us: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND * 1e6,
        ended: *fields.first()? == "Z",
    })
}

/// The resident memory of a process in megabytes.
#[must_use]
pub fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
