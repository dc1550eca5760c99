//! The thread that stores what is said: what waits is one transaction.

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

/// Messages of clients that wait for the database; more are refused.
const MAX_WAITING: usize = 4096;
/// Messages in one transaction.
const MAX_IN_BATCH: usize = 128;
/// How long one attempt to store may take.
const ATTEMPT: Duration = Duration::from_secs(8);
/// The pauses between attempts.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};

/// A message with the socket that it came from. What the chat itself says has none.
type Said = (NewMessage, Option<u64>);

/// What waits to be stored.
pub(super) struct Writer {
    /// Nothing when no more is taken.
    queue: Mutex<Option<Sender<Said>>>,
    waiting: Receiver<Said>,
    /// Until when to store what was taken, once the server stops.
    end: OnceLock<Instant>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let (queue, waiting) = unbounded();
        Self {
            queue: Mutex::new(Some(queue)),
            waiting,
            end: OnceLock::new(),
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a message. What the chat itself says is taken until the server stops: each socket has one such thing at most.
    pub(super) fn submit(&self, message: NewMessage, socket: Option<u64>) -> Result<(), Refused> {
        if socket.is_some() && self.waiting.len() >= MAX_WAITING {
            return Err(Refused::Busy);
        }
        let queue = self.queue.lock();
        let sent = queue.as_ref().map(|queue| queue.send((message, socket)));
        sent.and_then(Result::ok).ok_or(Refused::Stopping)
    }

    /// Takes no more, and has the thread end when all is stored, or cannot be until then.
    pub(super) fn stop(&self, deadline: Instant) {
        let _stopped_before = self.end.set(deadline);
        *self.queue.lock() = None;
    }
}

/// Tells a client that its message is refused.
type Refuse = fn(&Arc<Shared>, u64, &Refused, Uuid);

/// Stores what waits, and tells of it through `stored`.
pub(super) fn run(shared: &Arc<Shared>, stored: &Sender<()>, refuse: Refuse) {
    let waiting = &shared.writer.waiting;
    while let Ok(first) = waiting.recv() {
        let others = waiting.try_iter().take(MAX_IN_BATCH - 1);
        let (messages, sockets): (Vec<_>, Vec<_>) = std::iter::once(first).chain(others).unzip();
        let messages = Arc::new(messages);
        let Some(appended) = store(shared, &messages) else {
            tracing::error!("messages that were taken could not be stored in time");
            return;
        };
        let _told_before = stored.try_send(());
        for ((appended, socket), message) in appended.into_iter().zip(sockets).zip(&*messages) {
            match (appended, socket) {
                (Appended::Stored(_), _) => shared.metrics.stored.inc(),
                (Appended::IdTaken, Some(socket)) => {
                    refuse(shared, socket, &Refused::IdTaken, message.id);
                }
                (Appended::Known | Appended::IdTaken, _) => {}
            }
        }
    }
}

/// Tries until it is done: whatever an attempt that failed has stored, the next one finds by its ids.
fn store(shared: &Shared, messages: &Arc<Vec<NewMessage>>) -> Option<Vec<Appended>> {
    let end = &shared.writer.end;
    for attempt in 0.. {
        let (messages, begun) = (Arc::clone(messages), Instant::now());
        let stored = shared
            .pool
            .run(Access::Write, begun + ATTEMPT, move |connection| {
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
            Err(_logged) if end.get().is_some_and(|end| Instant::now() >= *end) => return None,
            Err(_logged) => std::thread::sleep(RETRY.pause(attempt)),
        }
    }
    None
}
