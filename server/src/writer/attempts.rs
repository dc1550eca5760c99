//! Failed attempts: what is known after them, and when to try again.

use std::fmt;
use std::time::Duration;

use foundation::backoff::Backoff;
use foundation::mysql::{DatabaseError, ErrorClass};

use super::deadlines::Progress;

/// Pauses between attempts. Longer ones would not help the database, and its recovery should be noticed soon.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(500),
};

/// What is known of a batch from earlier attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RetryState {
    pub(super) attempts: u32,
    /// Between two attempts. If it is in doubt, the next attempt that gets the lock resolves it.
    pub(super) progress: Progress,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    /// What this attempt tells about the batch; none if it failed before anything was written, so that what was known before
    /// still holds.
    pub(super) progress: Option<Progress>,
    /// The cause, for the log.
    pub(super) cause: String,
}

impl RetryState {
    /// Adds what a failure tells. Between attempts, this alone decides whether a client may be told that nothing is stored.
    pub(super) fn record(&mut self, failure: &Failure) {
        self.attempts += 1;
        self.progress = failure.progress.unwrap_or(self.progress);
    }

    /// How long to wait before the next attempt. The second one follows at once, because the connection may only have been closed
    /// while it was idle.
    pub(super) fn pause(self) -> Duration {
        match self.attempts {
            0 | 1 => Duration::ZERO,
            more => PAUSES.pause(more - 2),
        }
    }
}

impl Failure {
    pub(super) fn of(error: &DatabaseError, progress: Option<Progress>) -> Self {
        Self {
            class: error.class(),
            progress,
            cause: error.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = match self.progress {
            Some(Progress::InDoubt) => "; outcome unknown",
            _ => "",
        };
        write!(to, "{} ({}{doubt})", self.cause, self.class.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_doubt_after(failures: &[Option<Progress>]) -> bool {
        let mut retry = RetryState::default();
        for &progress in failures {
            let failure = Failure {
                class: ErrorClass::Connection,
                progress,
                cause: String::new(),
            };
            retry.record(&failure);
        }
        retry.progress == Progress::InDoubt
    }

    #[test]
    fn a_batch_in_doubt_stays_so_until_an_attempt_with_the_lock_finds_that_it_is_not_stored() {
        let (unchanged, not_stored, in_doubt) =
            (None, Some(Progress::NotSent), Some(Progress::InDoubt));
        for (failures, expected) in [
            (&[unchanged][..], false),
            (&[not_stored], false),
            (&[in_doubt], true),
            (&[in_doubt, unchanged], true),
            (&[in_doubt, unchanged, unchanged], true),
            (&[in_doubt, not_stored], false),
            (&[in_doubt, not_stored, unchanged], false),
            (&[in_doubt, unchanged, not_stored, in_doubt], true),
        ] {
            assert_eq!(in_doubt_after(failures), expected, "{failures:?}");
        }
    }
}
