//! The responses that messages are owed: from the writer, or when their time is over from a thread that waits for nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};
use foundation::http::{Exchange, Problem};
use foundation::mysql::Access;
use parking_lot::Mutex;

use super::attempts::RetryState;
use crate::error::Error;
use crate::metrics::WriterMetrics;
use crate::store::Store;

/// How long the answer to a COMMIT that is on its way is waited for beyond the time of a message: most come at once, and then
/// nobody need be told that it is not known.
const GRACE: Duration = Duration::from_millis(250);

/// What the log tells where nothing has failed yet.
const LATE: &str =
    "messages are not stored in time: it has not answered yet, or those before them took long";

/// What a client may be told of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// Nothing is stored.
    NotSent,
    /// It is on its way into the database.
    Sent,
    /// It may be stored, or not.
    InDoubt,
}

impl Progress {
    /// Between two attempts.
    pub(super) fn of(retry: RetryState) -> Self {
        if retry.outcome_unknown {
            Self::InDoubt
        } else {
            Self::NotSent
        }
    }
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

    /// Takes the exchange of a message whose time is over.
    fn take_if_late(&self, deadline: Instant, now: Instant) -> Late {
        let mut owed = self.0.lock();
        let due = match owed.1 {
            Progress::Sent => deadline + GRACE,
            Progress::NotSent | Progress::InDoubt => deadline,
        };
        if due > now {
            return Late::Not(due);
        }
        Late::Now(owed.0.take(), owed.1)
    }
}

enum Late {
    Not(Instant),
    Now(Option<Exchange>, Progress),
}

/// Messages that are owed a response.
pub(super) struct Deadlines {
    pending: Mutex<Pending>,
    /// Told when one comes that is due before [`Pending::looked_at`].
    sooner: (Sender<()>, Receiver<()>),
    /// The time of a request: nobody who comes later is late before it is over.
    request_timeout: Duration,
    store: Store,
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
        store: Store,
        request_timeout: Duration,
        metrics: Arc<WriterMetrics>,
    ) -> Self {
        Self {
            pending: Mutex::new(Pending {
                messages: VecDeque::new(),
                looked_at: Instant::now(),
            }),
            sooner: bounded(1),
            request_timeout,
            store,
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
            // Full, it is told already.
            let _ = self.sooner.0.try_send(());
        }
    }

    /// Answers what is late, until the writer has `ended`.
    pub(super) fn keep(&self, ended: &Receiver<Infallible>) {
        let mut next = Instant::now();
        loop {
            select! {
                recv(ended) -> _ => return,
                recv(self.sooner.1) -> _ => {}
                recv(at(next)) -> _ => {}
            }
            next = self.answer_the_late(Instant::now());
        }
    }

    /// Answers messages whose time is over, with 504 if they may be stored, else with 503. Gives when to do so again.
    fn answer_the_late(&self, now: Instant) -> Instant {
        let mut pending = self.pending.lock();
        pending.looked_at = now + self.request_timeout;
        while let Some((deadline, first)) = pending.messages.front() {
            match first
                .upgrade()
                .map(|owed| owed.take_if_late(*deadline, now))
            {
                Some(Late::Not(due)) => {
                    pending.looked_at = due;
                    break;
                }
                Some(Late::Now(Some(exchange), progress)) => {
                    exchange.answer(Problem::from(self.error(progress)));
                }
                Some(Late::Now(None, _)) | None => {}
            }
            pending.messages.pop_front();
        }
        pending.looked_at
    }

    fn error(&self, progress: Progress) -> Error {
        let outage = self.store.database.outage();
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
