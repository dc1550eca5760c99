//! Sleeps to the microsecond. The runtime's own timer counts milliseconds, and an open loop measures from the instant a
//! request was due: the difference would be taken for the server's.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(super) use self::precise::Timer;

#[cfg(target_os = "linux")]
mod precise {
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Duration, io};

    /// A timer of the operating system.
    #[derive(Debug)]
    pub(crate) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, as it takes any AsRawFd; an OwnedFd is the case that is sound"
        )]
        pub(crate) fn new() -> io::Result<Self> {
            let timer = timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
            )?;
            Ok(Self(AsyncFd::new(timer)?))
        }

        /// Sleeps for this time; a second call begins anew.
        pub(crate) async fn sleep(&mut self, time: Duration) -> io::Result<()> {
            let none = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // Nothing at all would stop the timer instead.
            let time =
                Timespec::try_from(time.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
            let once = Itimerspec {
                it_interval: none,
                it_value: time,
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            loop {
                let mut ready = self.0.readable().await?;
                let read =
                    ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
                if let Ok(read) = read {
                    return read.map(drop);
                }
            }
        }
    }
}

/// The runtime's timer, where there is no better one.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn sleep(&mut self, time: Duration) -> io::Result<()> {
        tokio::time::sleep(time).await;
        Ok(())
    }
}
