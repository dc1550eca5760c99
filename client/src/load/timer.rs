//! Sleeps with a resolution of microseconds. The runtime's own timer has a resolution of milliseconds. An open loop measures from
//! when a request was due, so that the timer's delay would count as the server's latency.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the operating system (timerfd), created at the first use.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<AsyncFd<OwnedFd>>);

impl Timer {
    /// Sleeps for this time. A second call restarts the timer. If the system gives no timer, uses the runtime's, less exactly.
    pub(super) async fn sleep(&mut self, time: Duration) {
        if self.try_sleep(time).await.is_err() {
            tokio::time::sleep(time).await;
        }
    }

    async fn try_sleep(&mut self, time: Duration) -> io::Result<()> {
        let timer = match &self.0 {
            Some(timer) => timer,
            None => self.0.insert(create()?),
        };
        // A time of zero would disarm the timer.
        let time =
            Timespec::try_from(time.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: time,
        };
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = timer.readable().await?;
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, as it takes any AsRawFd; an OwnedFd is the case that is sound"
)]
fn create() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    AsyncFd::new(timer)
}
