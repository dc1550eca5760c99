//! Stops sending at the first signal, and ends the program at the second.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;

use crate::exit;
use crate::output::print_warning;

/// Handles SIGINT (Ctrl-C) and SIGTERM. The first one stops the sending, and no result is lost, whenever it arrives. The second
/// one ends the program.
pub(super) async fn on_signals(stop: Arc<SetOnce<()>>, quiet: bool) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    // If they cannot be handled, the run goes on to its end.
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.set(()).is_err() {
            exit::now();
        }
        if !quiet {
            print_warning(
                "stopping: what is under way is waited for and judged; once more to leave at once",
            );
        }
    }
}
