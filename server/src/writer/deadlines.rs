//! The responses that messages are owed: from the writer, or when their time is over from a thread that waits for nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foundation::http::{Exchange, Problem};
use foundation::mysql::{Access, Database};
use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::metrics::WriterMetrics;

/// How long the answer to a COMMIT that is on its way is waited for beyond the time of a message: most come at once, and then
/// nobody need be told that it is not known.
const GRACE: Duration = Duration::from_millis(250);

/// What the log tells where nothing has failed yet.
const LATE: &str =
    "messages are not stored in time: it has not answered yet, or those before them took long";

/// What a client may be told of its message.
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

/// The response that a message is owed. Whoever takes the exchange answers.
pub(super) struct Owed(Mutex<(Option<Exchange>, Progress)>);

impl Owed {
    pub(super) fn new(exchange: Exchange) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Some(exchange), Progress::NotSent))))
    }

    /// Notes how far the message is. Gives whether it is still owed a response.
    pub(super) fn note(&self, progress: Progress) -> bool {
        let mut owed = self.0.lock();
        owed.1 = progress;
        owed.0.is_some()
    }

    /// What the response goes to, unless there was one.
    pub(super) fn take(&self) -> Option<Exchange> {
        self.0.lock().0.take()
    }
}

/// Messages that are owed a response.
pub(super) struct Deadlines {
    pending: Mutex<Pending>,
    /// Told when one comes that is due before [`Pending::looked_at`].
    sooner: Condvar,
    /// The time of a request: nobody who comes later is late before it is over.
    request_timeout: Duration,
    database: Database,
    metrics: Arc<WriterMetrics>,
}

struct Pending {
    /// In the order of their deadlines. Most come in it: but not those that have waited for their bodies, or for the requests
    /// before them on their connections.
    messages: VecDeque<(Instant, Weak<Owed>)>,
    /// When they are looked at again.
    looked_at: Instant,
}

impl Deadlines {
    pub(super) fn new(
        database: Database,
        request_timeout: Duration,
        metrics: Arc<WriterMetrics>,
    ) -> Self {
        Self {
            pending: Mutex::new(Pending {
                messages: VecDeque::new(),
                looked_at: Instant::now(),
            }),
            sooner: Condvar::new(),
            request_timeout,
            database,
            metrics,
        }
    }

    /// Sees to it that the message is answered when its time is over. There are never many more than the queue and a batch hold.
    pub(super) fn add(&self, deadline: Instant, owed: &Arc<Owed>) {
        let Pending {
            messages,
            looked_at,
        } = &mut *self.pending.lock();
        while messages
            .front()
            .is_some_and(|(_, first)| first.strong_count() == 0)
        {
            messages.pop_front();
        }
        let place = messages.partition_point(|(other, _)| *other <= deadline);
        messages.insert(place, (deadline, Arc::downgrade(owed)));
        if deadline < *looked_at {
            self.sooner.notify_one();
        }
    }

    /// Answers what is late, without end.
    pub(super) fn keep(&self) {
        let mut pending = self.pending.lock();
        loop {
            self.answer_the_late(&mut pending, Instant::now());
            let next = pending.looked_at;
            self.sooner.wait_until(&mut pending, next);
        }
    }

    /// Answers messages whose time is over, with 504 if they may be stored, else with 503. Notes when to do so again.
    fn answer_the_late(&self, pending: &mut Pending, now: Instant) {
        pending.looked_at = now + self.request_timeout;
        while let Some((deadline, first)) = pending.messages.front() {
            if let Some(owed) = first.upgrade() {
                let mut owed = owed.0.lock();
                let (exchange, progress) = &mut *owed;
                let due = match progress {
                    Progress::Sent => *deadline + GRACE,
                    Progress::NotSent | Progress::InDoubt => *deadline,
                };
                if due > now {
                    pending.looked_at = due;
                    break;
                }
                if let Some(exchange) = exchange.take() {
                    exchange.answer(Problem::from(self.error(*progress)));
                }
            }
            pending.messages.pop_front();
        }
    }

    fn error(&self, progress: Progress) -> Error {
        let outage = self.database.outage();
        // Counts as a failure, although the attempt goes on.
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
