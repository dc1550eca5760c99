//! Ends the sending at a signal, and the program at a second one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::exit;
use crate::output::print_warning;

/// Whether nothing more is to be sent.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    bell: Notify,
}

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits until nothing more is to be sent.
    pub(super) async fn asked(&self) {
        let told = self.bell.notified();
        if !self.is_asked() {
            told.await;
        }
    }

    /// Nothing more is to be sent; gives whether that was so before.
    pub(super) fn ask(&self) -> bool {
        let before = self.asked.swap(true, Ordering::Relaxed);
        self.bell.notify_waiters();
        before
    }
}

/// The first Ctrl-C or SIGTERM ends the sending and costs no result, whenever it comes; the second one ends the program.
pub(super) async fn at_signals(stop: Arc<Stop>, quiet: bool) {
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
        if stop.ask() {
            exit::now();
        }
        if !quiet {
            print_warning(
                "stopping: what is under way is waited for and judged; once more to leave at once",
            );
        }
    }
}
