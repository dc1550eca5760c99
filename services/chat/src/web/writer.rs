//! The thread that stores what is said: what waits is one transaction.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foundation::backoff::Backoff;
use foundation::mysql::Access;
use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use super::Shared;
use crate::message::{NewMessage, Refused};
use crate::store::{self, Appended};

/// Messages of clients that wait for the database; more are refused.
const MOST_WAITING: usize = 4096;
/// Messages in one transaction.
const MOST_IN_BATCH: usize = 128;
/// How long one attempt to store may take.
const ATTEMPT: Duration = Duration::from_secs(8);
/// The pauses between attempts.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};

/// What waits to be stored, and the thread that stores it.
#[derive(Default)]
pub(super) struct Writer {
    state: Mutex<State>,
    work: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    /// Each with the socket that it came from. What the chat itself says has none, and is always taken: each socket says
    /// one such thing at most.
    waiting: VecDeque<(NewMessage, Option<u64>)>,
    /// Set when the thread is to end: with nothing waiting, or at this moment.
    end: Option<Instant>,
}

impl Writer {
    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Stores all that was taken, if it can be done until then.
    pub(super) fn finish(&self, deadline: Instant) {
        self.state.lock().end = Some(deadline);
        self.work.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }

    fn put(&self, message: NewMessage, socket: Option<u64>) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if socket.is_some() && state.waiting.len() >= MOST_WAITING {
            return Err(Refused::Busy);
        }
        state.waiting.push_back((message, socket));
        self.work.notify_one();
        Ok(())
    }

    /// Takes what waits, and waits until something does. None when it is to end.
    fn next_batch(&self) -> Option<Vec<(NewMessage, Option<u64>)>> {
        let mut state = self.state.lock();
        self.work.wait_while(&mut state, |state| {
            state.waiting.is_empty() && state.end.is_none()
        });
        let most = state.waiting.len().min(MOST_IN_BATCH);
        let batch: Vec<_> = state.waiting.drain(..most).collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn is_over(&self) -> bool {
        let end = self.state.lock().end;
        end.is_some_and(|end| Instant::now() >= end)
    }
}

/// Takes a message that came from a socket.
pub(super) fn submit(shared: &Shared, message: NewMessage, socket: u64) -> Result<(), Refused> {
    shared.writer.put(message, Some(socket))
}

/// Takes what the chat itself says.
pub(super) fn submit_notice(shared: &Shared, message: NewMessage) {
    shared
        .writer
        .put(message, None)
        .expect("notices are always taken");
}

/// Tells a client that its message is refused.
type Refuse = fn(&Shared, u64, &Refused, Uuid);

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>, refuse: Refuse) -> io::Result<()> {
    let inner = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || run(&inner, refuse))?;
    *shared.writer.thread.lock() = Some(thread);
    Ok(())
}

fn run(shared: &Shared, refuse: Refuse) {
    while let Some(batch) = shared.writer.next_batch() {
        let (messages, sockets): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let messages = Arc::new(messages);
        let Some(appended) = store(shared, &messages) else {
            tracing::error!("messages that were taken could not be stored in time");
            return;
        };
        shared.tail.wake();
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
            Err(_logged) if shared.writer.is_over() => return None,
            Err(_logged) => std::thread::sleep(RETRY.pause(attempt)),
        }
    }
    None
}
