//! Shows on stderr how far a load has come, unless stderr is no terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::LoadState;

use super::source::Origin;

/// The time between two drawings while nothing is stored: the time left goes on.
const INTERVAL: Duration = Duration::from_millis(500);

/// A progress bar.
pub(super) struct Progress {
    bar: ProgressBar,
    start: Instant,
    calls_before: u64,
}

impl Progress {
    /// Shows a load that has come to this state, of a source of this length.
    pub(super) fn show(
        length: Option<u64>,
        origin: Origin<'_>,
        state: LoadState,
        quiet: bool,
    ) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let template = match (length, origin) {
            (None, _) => "{spinner} {bytes}  {msg}",
            (_, Origin::Generator(..)) => {
                "{bar:40} {human_pos}/{human_len} calls  {msg}  {eta} left"
            }
            _ => "{bar:40} {bytes}/{total_bytes}  {msg}  {eta} left",
        };
        let bar = ProgressBar::with_draw_target(length, target)
            .with_style(ProgressStyle::with_template(template).expect("the template is right"))
            .with_position(state.position);
        // What was loaded before says nothing of the rate.
        bar.reset_eta();
        bar.enable_steady_tick(INTERVAL);
        Self {
            bar,
            start: Instant::now(),
            calls_before: state.calls,
        }
    }

    /// Shows what is stored now.
    pub(super) fn set(&self, state: LoadState) {
        self.bar.set_position(state.position);
        let milliseconds = self.start.elapsed().as_millis().max(1);
        let calls = u128::from(state.calls - self.calls_before);
        let malformed = match state.malformed {
            0 => String::new(),
            malformed => format!(", {malformed} malformed"),
        };
        self.bar.set_message(format!(
            "{} calls/s{malformed}",
            calls * 1000 / milliseconds
        ));
    }

    /// Lets something write to stderr in between.
    pub(super) fn tell(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
