//! The thread that stores messages: all that are queued, up to a limit, in one transaction.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use foundation::backoff::Backoff;
use foundation::mysql::Access;
use parking_lot::Mutex;
use uuid::Uuid;

use super::Shared;
use crate::message::{NewMessage, Refused};
use crate::store::{self, Appended};

/// Most queued messages: above this, messages of clients are refused.
const MAX_QUEUED: usize = 4096;
/// Most messages in one transaction.
const MAX_IN_BATCH: usize = 128;
/// How long one attempt to store messages may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// The pauses between attempts.
const RETRY_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};

/// A message with the id of the socket that sent it. Notices have none.
type QueuedMessage = (NewMessage, Option<u64>);

/// The queue of messages to store.
pub(super) struct Writer {
    /// `None` once no more messages are accepted.
    queue: Mutex<Option<Sender<QueuedMessage>>>,
    queued: Receiver<QueuedMessage>,
    /// Set when the server stops: until then the thread tries to store the queued messages.
    deadline: OnceLock<Instant>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let (queue, queued) = unbounded();
        Self {
            queue: Mutex::new(Some(queue)),
            queued,
            deadline: OnceLock::new(),
        }
    }

    /// How many messages are queued.
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Queues a message. A notice is accepted even if the queue is full, because each socket causes only one.
    pub(super) fn submit(&self, message: NewMessage, socket: Option<u64>) -> Result<(), Refused> {
        if socket.is_some() && self.queued.len() >= MAX_QUEUED {
            return Err(Refused::Busy);
        }
        let queue = self.queue.lock();
        let sent = queue.as_ref().map(|queue| queue.send((message, socket)));
        sent.and_then(Result::ok).ok_or(Refused::Stopping)
    }

    /// Accepts no more messages. The thread ends when all are stored, or when an attempt fails after the deadline.
    pub(super) fn stop(&self, deadline: Instant) {
        let _stopped_before = self.deadline.set(deadline);
        *self.queue.lock() = None;
    }
}

/// Tells the client of a socket that its message with this id is refused.
type Refuse = fn(&Arc<Shared>, u64, &Refused, Uuid);

/// Stores the queued messages, and signals each commit through `stored`.
pub(super) fn run(shared: &Arc<Shared>, stored: &Sender<()>, refuse: Refuse) {
    let queued = &shared.writer.queued;
    while let Ok(first) = queued.recv() {
        let others = queued.try_iter().take(MAX_IN_BATCH - 1);
        let (messages, sockets): (Vec<_>, Vec<_>) = std::iter::once(first).chain(others).unzip();
        let messages = Arc::new(messages);
        let Some(appended) = store(shared, &messages) else {
            tracing::error!("messages that were taken could not be stored in time");
            return;
        };
        let _already_signalled = stored.try_send(());
        for ((appended, socket), message) in appended.into_iter().zip(sockets).zip(&*messages) {
            match (appended, socket) {
                (Appended::Stored(_), _) => shared.metrics.stored.inc(),
                (Appended::IdTaken, Some(socket)) => {
                    refuse(shared, socket, &Refused::IdTaken, message.id);
                }
                (Appended::AlreadyStored | Appended::IdTaken, _) => {}
            }
        }
    }
}

/// Retries until the messages are stored. If a failed attempt has stored them after all, the next one finds them by their ids.
fn store(shared: &Shared, messages: &Arc<Vec<NewMessage>>) -> Option<Vec<Appended>> {
    let is_over = |deadline: &Instant| Instant::now() >= *deadline;
    let is_late = || shared.writer.deadline.get().is_some_and(is_over);
    for attempt in 0.. {
        let (messages, begun) = (Arc::clone(messages), Instant::now());
        let stored = shared
            .pool
            .run(Access::Write, begun + ATTEMPT_TIMEOUT, move |connection| {
                store::store(connection, &messages)
            });
        match stored {
            Ok(appended) => {
                shared
                    .metrics
                    .store_seconds
                    .observe(begun.elapsed().as_secs_f64());
                return Some(appended);
            }
            Err(_logged) if is_late() => return None,
            Err(_logged) => std::thread::sleep(RETRY_BACKOFF.pause(attempt)),
        }
    }
    None
}
