//! Ends the sending at a signal, and the program at a second one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::exit;
use crate::output::print_warning;

/// The request to send nothing more, which any task can make and wait for.
#[derive(Debug, Default)]
pub(super) struct Stop {
    requested: AtomicBool,
    notify: Notify,
}

impl Stop {
    pub(super) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Waits until the end of the sending is requested.
    pub(super) async fn requested(&self) {
        let notified = self.notify.notified();
        if !self.is_requested() {
            notified.await;
        }
    }

    /// Requests the end of the sending; returns whether it was requested before.
    pub(super) fn request(&self) -> bool {
        let before = self.requested.swap(true, Ordering::Relaxed);
        self.notify.notify_waiters();
        before
    }
}

/// Listens to signals. The first Ctrl-C or SIGTERM ends the sending and costs no result, whenever it comes; the second
/// one ends the program.
pub(super) async fn on_signals(stop: Arc<Stop>, quiet: bool) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    // Without them, the run goes on to its end.
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.request() {
            exit::now();
        }
        if !quiet {
            print_warning(
                "stopping: what is under way is waited for and judged; once more to leave at once",
            );
        }
    }
}
