//! What the messenger counts and times, for `GET /metrics`.

use std::time::Instant;

use foundation::mysql::{DATABASE_SECONDS, ErrorClass};
use foundation::telemetry::Registry;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::message::Submission;
use crate::numbering::{Assignment, LockedState, Numbered};

const MESSAGES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// How messages are stored.
pub struct WriterMetrics {
    /// Messages that wait.
    pub queue: IntGauge,
    /// Most messages that may.
    pub queue_limit: IntGauge,
    batch_messages: Histogram,
    lock_wait: Histogram,
    lock_hold: Histogram,
    commit: Histogram,
    stored: IntCounter,
    repeated: IntCounter,
    /// Refused because the queue was full.
    pub refused_full: IntCounter,
    /// Refused because their time was over.
    pub refused_late: IntCounter,
    failures: IntCounterVec,
    /// Messages whose outcome is unknown.
    pub unknown: IntCounter,
    unknown_stored: IntCounter,
    unknown_not_stored: IntCounter,
    /// Counts messages of unknown outcome whose clients could not be told.
    pub unknown_given_up: IntCounter,
}

impl WriterMetrics {
    /// Registers all metrics of the writer.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let refused = registry.counters("messages_refused_total",
            "Messages answered with 503 and not stored by this replica: the queue was full, or their time was over (late)",
            &["reason"],
        );
        let failures = registry.counters(
            "batch_failures_total",
            "Attempts to store a batch that failed, by cause; `too_large` is tried again with less, `refused` and \
             `unknown` message by message, all others as they are",
            &["cause"],
        );
        let resolved = registry.counters("unknown_outcomes_resolved_total",
            "Messages of unknown outcome, by what came of them: found to be stored, found not to be stored and stored \
             anew, or given up with 504",
            &["as"],
        );
        for class in ErrorClass::ALL {
            // Shown before the first failure.
            failures.with_label_values(&[class.name()]);
        }
        Self {
            queue: registry.gauge("queue_messages",
                "Messages that wait for the writer",
            ),
            queue_limit: registry.gauge("queue_messages_limit",
                "Most messages that may wait for the writer",
            ),
            batch_messages: registry.histogram("batch_messages",
                "Messages in one transaction that was committed",
                MESSAGES,
            ),
            lock_wait: registry.histogram("lock_wait_seconds",
                "From asking for the lock to holding it and knowing the counters: one round trip and the wait. Of stored batches",
                DATABASE_SECONDS,
            ),
            lock_hold: registry.histogram("lock_hold_seconds",
                "From holding the lock to the answer to COMMIT",
                DATABASE_SECONDS,
            ),
            commit: registry.histogram("commit_seconds",
                "From sending the rows and COMMIT to the answer, the last part of holding the lock",
                DATABASE_SECONDS,
            ),
            stored: registry.counter("messages_stored_total",
                "Messages stored by this replica, without those found after a lost answer",
            ),
            repeated: registry.counter("messages_repeated_total",
                "Requests whose Idempotency-Key was stored before, and that were shown the reply of then",
            ),
            refused_full: refused.with_label_values(&["queue_full"]),
            refused_late: refused.with_label_values(&["late"]),
            failures,
            unknown: registry.counter("unknown_outcomes_total",
                "Messages of which a lost answer of the database left open whether they are stored",
            ),
            unknown_stored: resolved.with_label_values(&["stored"]),
            unknown_not_stored: resolved.with_label_values(&["not_stored"]),
            unknown_given_up: resolved.with_label_values(&["given_up"]),
        }
    }

    /// Counts a failed attempt to store a batch.
    pub fn failed(&self, class: ErrorClass) {
        self.failures.with_label_values(&[class.name()]).inc();
    }

    /// Counts and times a batch that was just stored. `times`: the lock was asked for, was acquired, rows and COMMIT were sent.
    pub fn committed(&self, numbered: &Numbered<'_>, was_unknown: bool, times: [Instant; 3]) {
        let [asked, got, sent] = times;
        self.lock_wait.observe((got - asked).as_secs_f64());
        self.lock_hold.observe(got.elapsed().as_secs_f64());
        self.commit.observe(sent.elapsed().as_secs_f64());
        let messages = u32::try_from(numbered.assignments.len()).unwrap_or(u32::MAX);
        self.batch_messages.observe(messages.into());
        self.stored.inc_by(numbered.new.len() as u64);
        // After a lost answer, a repeat is most likely a message of this batch.
        if numbered.repeats() > 0 && !was_unknown {
            let repeat = |assignment: &&Assignment| matches!(assignment, Assignment::Repeat(_));
            self.repeated
                .inc_by(numbered.assignments.iter().filter(repeat).count() as u64);
        }
    }

    /// Counts submissions of unknown outcome, by what the look-up found.
    pub fn resolved<'a>(
        &self,
        submissions: impl Iterator<Item = &'a Submission>,
        state: &LockedState,
    ) {
        for submission in submissions {
            if state.found.contains_key(&submission.request_id.uuid()) {
                self.unknown_stored.inc();
            } else {
                self.unknown_not_stored.inc();
            }
        }
    }
}
