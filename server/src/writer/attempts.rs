//! Attempts that failed: what is known after them, and when the next one follows.

use std::time::Duration;

use crate::incident::Incident;
use crate::store::Trouble;

/// Pauses between attempts: the first one follows at once, for a connection may just have been closed while idle.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longer pauses would not spare the database, and recovery should be noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is known of a batch from earlier attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) attempts: u32,
    /// An attempt may have stored some of the batch. Resolved by the next one that gets the lock, unless it was the
    /// peer's.
    pub(super) outcome_unknown: bool,
    /// The peer may still store it, at any later time. Resolved by storing it here.
    pub(super) left_with_peer: bool,
    /// The last failure.
    pub(super) incident: Option<Incident>,
}

/// An attempt that failed.
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    /// Whether some of the batch may be stored.
    pub(super) outcome_unknown: bool,
    pub(super) cause: String,
    pub(super) incident: Incident,
}

impl Past {
    pub(super) fn learn_of(&mut self, failure: &Failure) {
        self.attempts += 1;
        self.left_with_peer |= failure.trouble == Trouble::Peer && failure.outcome_unknown;
        self.outcome_unknown = failure.outcome_unknown;
        self.incident = Some(failure.incident);
    }

    /// How long to wait before the next attempt. Grows, and is random, so that replicas do not come back all at once.
    pub(super) fn pause(&self) -> Duration {
        match self.attempts {
            0 | 1 => Duration::ZERO,
            more => (FIRST_PAUSE * 2_u32.saturating_pow((more - 2).min(16)))
                .min(LONGEST_PAUSE)
                .mul_f64(rand::random_range(0.5..1.0)),
        }
    }
}

impl Failure {
    pub(super) fn new(trouble: Trouble, outcome_unknown: bool, cause: String) -> Self {
        Self {
            trouble,
            outcome_unknown,
            cause,
            incident: Incident::draw(),
        }
    }

    pub(super) fn of(error: &mysql::Error, outcome_unknown: bool) -> Self {
        Self::new(Trouble::of(error), outcome_unknown, error.to_string())
    }

    /// `past` is what is known with this failure.
    pub(super) fn log(&self, messages: usize, past: Past) {
        let Self {
            trouble,
            cause,
            incident,
            ..
        } = self;
        let (attempt, outcome_unknown) = (past.attempts, past.outcome_unknown);
        if *trouble == Trouble::Refused {
            tracing::error!(instance = %incident, messages, attempt, cause, "the database refuses a batch");
        } else {
            tracing::warn!(
                instance = %incident,
                messages,
                attempt,
                ?trouble,
                outcome_unknown,
                cause,
                "trying a batch again"
            );
        }
    }
}
