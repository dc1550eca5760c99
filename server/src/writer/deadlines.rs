//! Deadlines of messages: the writer answers in time, or a thread of its own answers when the time is over.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foundation::http::{Exchange, Problem};
use foundation::mysql::{Access, Database};
use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::metrics::WriterMetrics;

/// How long a COMMIT that is on its way is waited for after the deadline of a message: most end at once, and then the client need
/// not be told that the outcome is unknown.
const GRACE: Duration = Duration::from_millis(250);

/// How often deadlines are checked while messages are pending: an answer may be so much late, which no client notices.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The cause in the log if nothing has failed yet.
const LATE: &str =
    "messages are not stored in time: it has not answered yet, or those before them took long";

/// How far a message is, and so what its client may be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// Nothing is stored.
    #[default]
    NotSent,
    /// It is on its way into the database.
    Sent,
    /// It may be stored, now or later, or not.
    InDoubt,
}

/// The reply that a message still waits for. Whoever takes the exchange answers.
pub(super) struct PendingReply(Mutex<(Option<Exchange>, Progress)>);

impl PendingReply {
    pub(super) fn new(exchange: Exchange) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Some(exchange), Progress::NotSent))))
    }

    /// Records how far the message is. Returns false if it is answered already.
    pub(super) fn record(&self, progress: Progress) -> bool {
        let mut pending = self.0.lock();
        pending.1 = progress;
        pending.0.is_some()
    }

    /// The exchange to answer; none if it is answered already.
    pub(super) fn take(&self) -> Option<Exchange> {
        self.0.lock().0.take()
    }
}

/// The messages that are not answered yet, by deadline.
pub(super) struct Deadlines {
    /// Sorted by deadline. Most are added in this order; those that waited for their bodies, or for earlier requests on their
    /// connections, are not.
    pending: Mutex<VecDeque<(Instant, Weak<PendingReply>)>>,
    /// Notified when a message is added while there are no others.
    added: Condvar,
    database: Database,
    metrics: Arc<WriterMetrics>,
}

impl Deadlines {
    pub(super) fn new(database: Database, metrics: Arc<WriterMetrics>) -> Self {
        Self {
            pending: Mutex::default(),
            added: Condvar::new(),
            database,
            metrics,
        }
    }

    /// Has the message answered at its deadline, unless the writer does so before. At most about as many are kept as the queue
    /// and a batch hold.
    pub(super) fn add(&self, deadline: Instant, reply: &Arc<PendingReply>) {
        let mut pending = self.pending.lock();
        while pending
            .front()
            .is_some_and(|(_, first)| first.strong_count() == 0)
        {
            pending.pop_front();
        }
        if pending.is_empty() {
            self.added.notify_one();
        }
        let place = pending.partition_point(|(other, _)| *other <= deadline);
        pending.insert(place, (deadline, Arc::downgrade(reply)));
    }

    /// Answers messages at their deadlines, for ever. Sleeps while there are none.
    pub(super) fn run(&self) {
        loop {
            let mut pending = self.pending.lock();
            self.added
                .wait_while(&mut pending, |pending| pending.is_empty());
            drop(pending);
            std::thread::sleep(CHECK_INTERVAL);
            self.answer_the_late(Instant::now());
        }
    }

    /// Answers the messages whose time is over: with 504 if they may be stored, else with 503.
    fn answer_the_late(&self, now: Instant) {
        let mut pending = self.pending.lock();
        while let Some((deadline, first)) = pending.front() {
            if let Some(reply) = first.upgrade() {
                let mut reply = reply.0.lock();
                let (exchange, progress) = &mut *reply;
                let due = match progress {
                    Progress::Sent => *deadline + GRACE,
                    Progress::NotSent | Progress::InDoubt => *deadline,
                };
                if due > now {
                    return;
                }
                if let Some(exchange) = exchange.take() {
                    exchange.answer(Problem::from(self.error(*progress)));
                }
            }
            pending.pop_front();
        }
    }

    fn error(&self, progress: Progress) -> Error {
        let outage = self.database.outage();
        // A late message counts as a failure of the database, although its attempt goes on.
        let fails = || outage.fail(Access::Write, &LATE);
        let incident = outage.incident().unwrap_or_else(fails);
        let metrics = &self.metrics;
        if progress == Progress::NotSent {
            metrics.refused_late.inc();
            return Error::DatabaseAway(incident);
        }
        if progress == Progress::Sent {
            metrics.unknown.inc();
        }
        metrics.unknown_given_up.inc();
        Error::OutcomeUnknown(incident)
    }
}
