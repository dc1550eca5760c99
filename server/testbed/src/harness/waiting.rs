//! Waits for a condition, and reports that a test is skipped.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The timeout of a test's waits. Nothing takes as long on a healthy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two checks. Short, because some tests wait for a condition that holds only briefly.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Waits until `holds` returns true, and fails the test if it does not within [`PATIENCE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Sets a flag on drop, also when the test fails: otherwise its scope would wait for ever for threads that run until then.
#[derive(Debug)]
pub struct SetAtEnd<'f>(pub &'f AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Prints that this test is skipped, and why, even where the output of passing tests is captured.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}
