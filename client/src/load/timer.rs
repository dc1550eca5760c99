//! Sleeps to the microsecond. The runtime's own timer counts milliseconds, and an open loop measures from the instant a
//! request was due: the difference would be taken for the server's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the operating system, made when it is needed first.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<AsyncFd<OwnedFd>>);

impl Timer {
    /// Sleeps for this time; a second call begins anew. Where there is no timer, the runtime's own does, less exactly.
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
        // Nothing at all would stop the timer instead.
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
