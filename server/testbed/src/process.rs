//! A child that is killed, frozen and thawed, and does not outlive its owner; what the kernel counts of it.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// The time between two looks at a process.
const PAUSE: Duration = Duration::from_millis(5);
/// `USER_HZ`: the unit of times in `/proc`, the same on all architectures that Rust has Linux for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child process. Killed at the end, if it still runs.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no such program, named in the error.
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

    /// Ends it at once (SIGKILL), and waits until it is gone, its sockets and locks with it.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }

    /// Stops all its threads (SIGSTOP), and waits until they stand still.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED)?;
        Ok(())
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for its end; `None` if it does not come in time.
    pub fn end(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if status.is_some() || start.elapsed() > patience {
                return Ok(status);
            }
            std::thread::sleep(PAUSE);
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
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time in microseconds, in user mode and in the kernel, of all threads.
    pub cpu_us: f64,
    /// Whether it has ended, and its parent has not yet asked how.
    pub ended: bool,
}

/// The usage of a process; `None` if there is no such process. Fields as in `man 5 proc_pid_stat`.
#[must_use]
pub fn usage(process: u32) -> Option<Usage> {
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

/// The megabytes of a process that are in memory now.
#[must_use]
pub fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
