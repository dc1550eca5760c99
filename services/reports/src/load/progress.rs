//! Shows on stderr how far a load has come, unless stderr is no terminal.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::store::LoadState;

use super::source::Origin;

/// The time between two drawings while nothing is stored: the time left goes on.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shows a load that has come to this state, of a source of this length.
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
    let bar = crate::progress(length, template, quiet).with_position(state.position);
    // What was loaded before says nothing of the rate.
    bar.reset_eta();
    bar.enable_steady_tick(INTERVAL);
    bar
}

/// Shows what is stored now.
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
