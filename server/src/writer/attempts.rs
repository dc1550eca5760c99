//! Attempts that failed: what is known after them, and when the next one follows.

use std::time::Duration;

use crate::store::Trouble;
use foundation::telemetry::Incident;

/// Pauses between attempts: the first one follows at once, for a connection may just have been closed while idle.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longer pauses would not spare the database, and recovery should be noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is known of a batch from earlier attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) attempts: u32,
    /// Some of the batch may be stored, or will be. Resolved by the next attempt that gets the lock.
    pub(super) outcome_unknown: bool,
    /// The last failure.
    pub(super) incident: Option<Incident>,
}

/// An attempt that failed.
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    pub(super) finding: Finding,
    /// For the log.
    pub(super) said: String,
    pub(super) incident: Incident,
}

/// What an attempt that failed says of the batch, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It did not come as far as the lock.
    Unchanged,
    /// With the lock it found nothing of the batch, and it stored nothing.
    NotStored,
    /// Some of the batch is stored, or may be now or later.
    InDoubt,
}

impl Past {
    /// The only place that decides whether a caller may be told that nothing is stored.
    pub(super) fn learn_of(&mut self, failure: &Failure) {
        self.attempts += 1;
        self.outcome_unknown = match failure.finding {
            Finding::Unchanged => self.outcome_unknown,
            Finding::NotStored => false,
            Finding::InDoubt => true,
        };
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
    pub(super) fn new(trouble: Trouble, finding: Finding, said: String) -> Self {
        Self {
            trouble,
            finding,
            said,
            incident: Incident::draw(),
        }
    }

    pub(super) fn of(error: &mysql::Error, finding: Finding) -> Self {
        Self::new(Trouble::of(error), finding, error.to_string())
    }

    /// `past` is what is known with this failure.
    pub(super) fn log(&self, messages: usize, past: Past) {
        let (trouble, cause, instance) = (self.trouble.name(), &self.said, self.incident);
        let (attempt, outcome_unknown) = (past.attempts, past.outcome_unknown);
        if self.trouble == Trouble::Refused {
            tracing::error!(%instance, messages, attempt, cause, "the database refuses a batch");
        } else {
            tracing::warn!(
                %instance,
                messages,
                attempt,
                %trouble,
                outcome_unknown,
                cause,
                "trying a batch again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_after(findings: &[Finding]) -> bool {
        let mut past = Past::default();
        for &finding in findings {
            past.learn_of(&Failure::new(Trouble::Connection, finding, String::new()));
        }
        past.outcome_unknown
    }

    #[test]
    fn what_is_in_doubt_stays_so_until_an_attempt_with_the_lock_finds_that_it_is_not_stored() {
        let (unchanged, not_stored, in_doubt) =
            (Finding::Unchanged, Finding::NotStored, Finding::InDoubt);
        for (findings, unknown) in [
            (&[unchanged][..], false),
            (&[not_stored], false),
            (&[in_doubt], true),
            (&[in_doubt, unchanged], true),
            (&[in_doubt, unchanged, unchanged], true),
            (&[in_doubt, not_stored], false),
            (&[in_doubt, not_stored, unchanged], false),
            (&[in_doubt, unchanged, not_stored, in_doubt], true),
        ] {
            assert_eq!(unknown_after(findings), unknown, "{findings:?}");
        }
    }
}
