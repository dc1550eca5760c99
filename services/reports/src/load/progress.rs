//! Shows the progress of a load on stderr, if stderr is a terminal.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::store::LoadState;

use super::source::Origin;

/// How often the bar is drawn while nothing is stored, so that the remaining time stays current.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

/// Begins to show a load in this state, of a source of this length.
pub(super) fn begin(
    length: Option<u64>,
    origin: Origin<'_>,
    state: &LoadState,
    quiet: bool,
) -> ProgressBar {
    let template = match (length, origin) {
        (None, _) => "{spinner} {bytes}  {msg}",
        (_, Origin::Generator(..)) => "{bar:40} {human_pos}/{human_len} calls  {msg}  {eta} left",
        _ => "{bar:40} {bytes}/{total_bytes}  {msg}  {eta} left",
    };
    let bar = crate::progress_bar(length, template, quiet).with_position(state.position);
    // What an earlier run loaded does not count for the rate.
    bar.reset_eta();
    bar.enable_steady_tick(REDRAW_INTERVAL);
    bar
}

/// Shows the state `now`.
pub(super) fn set(bar: &ProgressBar, before: &LoadState, now: &LoadState) {
    bar.set_position(now.position);
    let milliseconds = bar.elapsed().as_millis().max(1);
    let calls = u128::from(now.calls - before.calls);
    let malformed = match now.malformed {
        0 => String::new(),
        malformed => format!(", {malformed} malformed"),
    };
    bar.set_message(format!(
        "{} calls/s{malformed}",
        calls * 1000 / milliseconds
    ));
}
