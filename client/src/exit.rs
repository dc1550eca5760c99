//! The exit statuses.

/// Every promise that could be judged was kept.
pub(crate) const VALID: u8 = 0;
/// A promise is broken, whatever else went wrong.
pub(crate) const INVALID: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The command could not do its work, say because no replica could be reached.
pub(crate) const NOT_DONE: u8 = 3;
/// A `--threshold` was missed.
pub(crate) const THRESHOLD_MISSED: u8 = 4;
/// No request was answered, so that nothing could be judged.
pub(crate) const NOTHING_JUDGED: u8 = 5;
/// The run was interrupted, and is valid so far.
pub(crate) const INTERRUPTED: u8 = 130;

/// Ends the program at the second Ctrl-C.
#[expect(clippy::exit, reason = "the user asked twice to leave at once")]
pub(crate) fn now() -> ! {
    std::process::exit(INTERRUPTED.into());
}
