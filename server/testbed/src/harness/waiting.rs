//! Tests wait for what must come, and say when they are skipped.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest wait of a test: nothing takes as long on a healthy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two looks: short, as some tests look for what does not last.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until something holds, and fails the test if it does not in time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Sets a flag when it is dropped, also by a test that fails: threads that go on until then are waited for by their scope.
#[derive(Debug)]
pub struct SetAtEnd<'f>(pub &'f AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says that a test is skipped, and why, also where the output of tests that pass is not shown.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}
