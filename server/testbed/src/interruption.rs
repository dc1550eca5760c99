//! Ctrl-C: whoever waits is told, and ends what it started on the way out. It is of the whole process, as signals are.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The time between two looks at what is waited for.
pub const PAUSE: Duration = Duration::from_millis(20);

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Somebody asked this program to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Begins to listen: from now on a signal is noticed by [`check`] and [`sleep`].
pub fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ASKED))?;
    }
    Ok(())
}

/// Tells whether to go on.
pub fn check() -> Result<(), Interrupted> {
    if ASKED.load(Ordering::Relaxed) {
        return Err(Interrupted);
    }
    Ok(())
}

/// Waits for so long, or until somebody asks to end.
pub fn sleep(time: Duration) -> Result<(), Interrupted> {
    let start = Instant::now();
    loop {
        check()?;
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(PAUSE));
    }
}

/// Waits until something holds; gives false if it does not in time.
///
/// # Errors
/// [`Interrupted`], and those of `holds`.
pub fn wait_until(
    patience: Duration,
    mut holds: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > patience {
            return Ok(false);
        }
        sleep(PAUSE)?;
    }
    Ok(true)
}
