//! Attempts that failed: what is known after them, and when the next one follows.

use std::fmt;
use std::time::Duration;

use foundation::backoff::Backoff;
use foundation::mysql::{ErrorClass, code, without_values};

/// Pauses between attempts. Longer ones would not spare the database, and recovery should be noticed soon.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(500),
};

/// What is known of a batch from earlier attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RetryState {
    pub(super) attempts: u32,
    /// Some of the batch may be stored, or will be. Resolved by the next attempt that gets the lock.
    pub(super) outcome_unknown: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) commit_status: CommitStatus,
    /// The number by which the database names the error, if it answered.
    pub(super) code: Option<u16>,
    /// What the log tells of it.
    pub(super) said: String,
}

/// What an attempt that failed says of the batch, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitStatus {
    /// It failed before anything was written: what was known before stays so.
    Unchanged,
    /// The attempt got the lock, found nothing of the batch, and it stored nothing.
    NotStored,
    /// Some of the batch is stored, or may be now or later.
    InDoubt,
}

impl RetryState {
    /// Adds what a failure tells: the only place that decides whether a client may be told that nothing is stored, but for
    /// what is on its way, see [`Progress`](super::deadlines::Progress).
    pub(super) fn learn_of(&mut self, failure: &Failure) {
        self.attempts += 1;
        self.outcome_unknown = match failure.commit_status {
            CommitStatus::Unchanged => self.outcome_unknown,
            CommitStatus::NotStored => false,
            CommitStatus::InDoubt => true,
        };
    }

    /// How long to wait before the next attempt. The second one follows at once, for a connection may just have been
    /// closed while idle.
    pub(super) fn pause(self) -> Duration {
        match self.attempts {
            0 | 1 => Duration::ZERO,
            more => PAUSES.pause(more - 2),
        }
    }
}

impl Failure {
    pub(super) fn of(error: &mysql::Error, commit_status: CommitStatus) -> Self {
        Self {
            class: ErrorClass::of(error),
            commit_status,
            code: code(error),
            said: without_values(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = match self.commit_status {
            CommitStatus::InDoubt => "; outcome unknown",
            CommitStatus::Unchanged | CommitStatus::NotStored => "",
        };
        write!(to, "{} ({}{doubt})", self.said, self.class.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_after(statuses: &[CommitStatus]) -> bool {
        let mut retry = RetryState::default();
        for &commit_status in statuses {
            let failure = Failure {
                class: ErrorClass::Connection,
                commit_status,
                code: None,
                said: String::new(),
            };
            retry.learn_of(&failure);
        }
        retry.outcome_unknown
    }

    #[test]
    fn what_is_in_doubt_stays_so_until_an_attempt_with_the_lock_finds_that_it_is_not_stored() {
        let (unchanged, not_stored, in_doubt) = (
            CommitStatus::Unchanged,
            CommitStatus::NotStored,
            CommitStatus::InDoubt,
        );
        for (statuses, unknown) in [
            (&[unchanged][..], false),
            (&[not_stored], false),
            (&[in_doubt], true),
            (&[in_doubt, unchanged], true),
            (&[in_doubt, unchanged, unchanged], true),
            (&[in_doubt, not_stored], false),
            (&[in_doubt, not_stored, unchanged], false),
            (&[in_doubt, unchanged, not_stored, in_doubt], true),
        ] {
            assert_eq!(unknown_after(statuses), unknown, "{statuses:?}");
        }
    }
}
