//! Ctrl-C: functions that wait return an error, so that child processes are ended on the way out. The flag is global to the
//! process, as signals are.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The time between two checks of a condition that is waited for.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// This program received a signal to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Registers the signal handlers. From now on [`check`] and [`sleep`] fail after SIGINT, SIGTERM or SIGHUP.
pub fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// Fails if a signal has arrived.
pub fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Interrupted);
    }
    Ok(())
}

/// Sleeps for this time. Fails as soon as a signal arrives.
pub fn sleep(time: Duration) -> Result<(), Interrupted> {
    let start = Instant::now();
    loop {
        check()?;
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(POLL_INTERVAL));
    }
}

/// Waits until `holds` returns true. Returns false if that takes longer than `timeout`.
///
/// # Errors
/// [`Interrupted`], and the errors of `holds`.
pub fn wait_until(
    timeout: Duration,
    mut holds: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > timeout {
            return Ok(false);
        }
        sleep(POLL_INTERVAL)?;
    }
    Ok(true)
}
