//! The writer: one thread a replica. It takes all messages that wait, and stores them in one transaction.
//!
//! One writer at a time can hold the lock, whatever the number of connections, so the way to be fast is to do much while
//! holding it. There is no timer and no minimum: an idle server stores a message at once, a busy one fills its batches
//! by itself while the batch before is on its way (as `DBImpl::Write` of LevelDB does).

mod attempts;
mod intake;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use uuid::Uuid;

use crate::error::Error;
use crate::message::{PREDECESSORS, Post, RenderedHistory, RequestId, Window};
use crate::metrics::Metrics;
use crate::numbering::{Fate, Numbered, number};
use crate::store::{self, Connection, Locked, NotCommitted, Remedy, RowHeads, Store, Trouble};
use foundation::telemetry::{Incident, Reporter};

use attempts::{Failure, Finding, Past};
use intake::{Intake, Waiting};

/// Counters read for messages that may join late. Rows cost little, but with many users few would be of use.
const MOST_KNOWN_USERS: usize = 32;

/// Replies to repeats that are read at once: ten messages each, and long ones take memory.
const MOST_READ_AGAIN: usize = 16;

/// Limits of the writer.
#[derive(Debug, Clone, Copy)]
pub struct WriterLimits {
    /// Most messages that wait.
    pub queue_messages: usize,
    /// Most messages in one transaction.
    pub batch_messages: usize,
    /// Bytes of users and texts that end a batch. The last message may exceed it.
    pub batch_bytes: usize,
}

/// Takes the answers of a batch, and does not block.
type Deliver<A> = Box<dyn Fn(Vec<(A, Result<Window, Error>)>) + Send>;

/// The way into the queue, and the thread behind it.
pub struct Writer<A> {
    queue: Sender<Waiting<A>>,
    thread: JoinHandle<()>,
    /// Of the full queue.
    refusals: Reporter,
    metrics: Arc<Metrics>,
}

impl<A: Send + 'static> Writer<A> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        limits: WriterLimits,
        metrics: Arc<Metrics>,
        deliver: impl Fn(Vec<(A, Result<Window, Error>)>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = bounded(limits.queue_messages);
        let limits = WriterLimits {
            batch_bytes: limits.batch_bytes.min(store.most_batch_bytes()),
            ..limits
        };
        let mut scribe = Scribe {
            store,
            intake: Intake::new(waiting, limits),
            connection: None,
            known_users: Vec::new(),
            deliver: Box::new(deliver) as Deliver<A>,
            metrics: Arc::clone(&metrics),
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || scribe.work())?;
        Ok(Self {
            queue,
            thread,
            refusals: Reporter::default(),
            metrics,
        })
    }

    /// Queues a message. Does not block.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; gives `answer_to` back.
    pub fn submit(&self, post: Post, answer_to: A) -> Result<(), (Error, A)> {
        self.queue
            .try_send(Waiting { post, answer_to })
            .map_err(|error| match error {
                TrySendError::Full(waiting) => (self.busy(), waiting.answer_to),
                TrySendError::Disconnected(waiting) => (self.gone(), waiting.answer_to),
            })
    }

    /// Brings the gauges of the queue up to date.
    pub fn observe(&self) {
        let limit = self.queue.capacity().unwrap_or(usize::MAX);
        self.metrics.writer.set_queue(self.queue.len(), limit);
    }

    fn busy(&self) -> Error {
        Error::Busy(self.refusals.report(|incident| {
            tracing::warn!(instance = %incident, waiting = self.queue.len(), "refusing messages: the queue is full");
        }))
    }

    fn gone(&self) -> Error {
        Error::Defect(self.refusals.report(
            |incident| tracing::error!(instance = %incident, "the writer's thread has ended"),
        ))
    }

    /// Stores what waits, and ends the thread.
    pub fn finish(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            tracing::error!("the writer panicked");
        }
    }
}

/// The state of the writer's thread.
struct Scribe<A> {
    store: Store,
    intake: Intake<A>,
    connection: Option<Connection>,
    /// The users of the batch before. Their counters are read as well, so that their messages may join late.
    known_users: Vec<String>,
    deliver: Deliver<A>,
    metrics: Arc<Metrics>,
}

impl<A> Scribe<A> {
    fn work(&mut self) {
        let keep_alive = self.store.timeouts().keep_alive();
        loop {
            match self.intake.next_batch(keep_alive) {
                Ok(batch) => self.survive(|scribe| scribe.store(batch, Past::default())),
                Err(RecvTimeoutError::Timeout) => self.survive(Self::keep_alive),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// A panic costs the batch, if there is one, whose callers are answered when it is dropped, and the connection.
    fn survive(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!("the writer panicked; it goes on with the next batch");
            self.clean_up(Remedy::Reconnect);
        }
    }

    /// Stores a batch and answers all of it, however often it must be tried.
    fn store(&mut self, mut batch: Vec<Waiting<A>>, mut past: Past) {
        loop {
            self.answer_the_late(&mut batch, past);
            if batch.is_empty() {
                return;
            }
            let mut failure = match self.attempt(&mut batch, past) {
                Ok(windows) => {
                    (self.deliver)(
                        batch
                            .into_iter()
                            .map(|waiting| waiting.answer_to)
                            .zip(windows)
                            .collect(),
                    );
                    return;
                }
                Err(failure) => failure,
            };
            if failure.trouble == Trouble::Duplicate && past.attempts > 0 {
                // The ids were looked up under the lock, and were not there.
                failure.trouble = Trouble::Refused;
            }
            past.learn_of(&failure);
            let metrics = &self.metrics.writer;
            metrics.failed(failure.trouble);
            // What was unknown before was resolved with the lock, or is counted.
            if past.outcome_unknown && failure.finding != Finding::Unchanged {
                metrics.unknown.inc_by(batch.len() as u64);
            }
            failure.log(batch.len(), past);
            let remedy = failure.trouble.remedy();
            self.clean_up(remedy);
            if remedy == Remedy::GiveUp {
                return self.store_singly(batch, past, failure.incident);
            }
            std::thread::sleep(past.pause());
        }
    }

    /// One message that the database refuses must not harm the others.
    fn store_singly(&mut self, batch: Vec<Waiting<A>>, past: Past, refusal: Incident) {
        if batch.len() > 1 {
            for waiting in batch {
                self.store(vec![waiting], past);
            }
        } else {
            if past.outcome_unknown {
                self.metrics.writer.unknown_given_up.inc();
            }
            self.answer(batch, &Error::Defect(refusal));
        }
    }

    /// One transaction: lock, number, insert, commit. Gives one answer for each message.
    ///
    /// What came while it waited for the lock joins the batch, if all that its numbering needs was read.
    fn attempt(
        &mut self,
        batch: &mut Vec<Waiting<A>>,
        past: Past,
    ) -> Result<Vec<Result<Window, Error>>, Failure> {
        let mut heads = RowHeads::default();
        heads.extend(batch.iter().map(|waiting| &waiting.post));
        let look_up = ids_to_look_up(batch, past);
        let known = self.known_users.iter().map(String::as_str);
        let users = batch
            .iter()
            .map(|waiting| waiting.post.message.user())
            .chain(known);
        let connection = connected(&mut self.connection, &self.store)?;

        let metrics = &self.metrics.writer;
        let asked = Instant::now();
        let locked = Locked::begin(connection, users, &look_up)
            .map_err(|error| Failure::of(&error, Finding::Unchanged))?;
        let got = Instant::now();
        if past.outcome_unknown {
            metrics.resolved(batch.iter().map(|waiting| &waiting.post), &locked.ledger);
        }
        if past.attempts == 0 {
            // One turn for the threads that have more messages ready: a larger batch saves more than it costs. With a
            // processor to spare it costs nothing.
            std::thread::yield_now();
            let punctual = batch.len();
            self.intake
                .fill(batch, |post| locked.ledger.can_number(post));
            heads.extend(batch[punctual..].iter().map(|waiting| &waiting.post));
        }
        let numbered = number(batch.iter().map(|waiting| &waiting.post), &locked.ledger);
        let some_stored = !locked.ledger.found.is_empty();
        let sent = Instant::now();
        let tail = locked
            .insert_and_commit(&heads, &numbered)
            .map_err(|NotCommitted { error, in_doubt }| {
                let finding = if some_stored || in_doubt {
                    Finding::InDoubt
                } else {
                    Finding::NotStored
                };
                Failure::of(&error, finding)
            })?
            .tail;
        metrics.committed(&numbered, past.outcome_unknown, [asked, got, sent]);

        let users = numbered.counts.keys().take(MOST_KNOWN_USERS);
        self.known_users = users.map(|&user| user.to_owned()).collect();
        let old = read_again(connection, &numbered)
            .map_err(|error| Failure::of(&error, Finding::InDoubt))?;
        let history = RenderedHistory::new(tail.iter().chain(&numbered.new));
        let window = |fate: &Fate| match *fate {
            Fate::New(index) => Ok(history.window(tail.len() + index)),
            Fate::KeyReused => Err(Error::KeyReused),
            Fate::Repeat(seq) => Ok(old[&seq].clone()),
        };
        Ok(numbered.fates.iter().map(window).collect())
    }

    /// Leaves the connection as the next attempt needs it.
    fn clean_up(&mut self, remedy: Remedy) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if remedy == Remedy::Reconnect || store::rollback(connection).is_err() {
            connection.give_up();
            self.connection = None;
        }
    }

    /// A writer that is silent for long is taken for frozen by the database, and loses its connection.
    fn keep_alive(&mut self) {
        if self
            .connection
            .as_mut()
            .is_some_and(|connection| connection.ping().is_err())
        {
            self.clean_up(Remedy::Reconnect);
        }
    }

    /// Drops those whose callers do not wait any longer. Never out of a batch that is under way.
    fn answer_the_late(&self, batch: &mut Vec<Waiting<A>>, past: Past) {
        let now = Instant::now();
        let late: Vec<_> = batch
            .extract_if(.., |waiting| waiting.post.deadline <= now)
            .collect();
        if !late.is_empty() {
            let incident = past
                .incident
                .unwrap_or_else(|| report_waiting_in_vain(late.len()));
            let metrics = &self.metrics.writer;
            let (error, counter) = if past.outcome_unknown {
                (Error::OutcomeUnknown(incident), &metrics.unknown_given_up)
            } else {
                (Error::DatabaseAway(incident), &metrics.refused_late)
            };
            counter.inc_by(late.len() as u64);
            self.answer(late, &error);
        }
    }

    fn answer(&self, batch: Vec<Waiting<A>>, error: &Error) {
        (self.deliver)(
            batch
                .into_iter()
                .map(|waiting| (waiting.answer_to, Err(error.clone())))
                .collect(),
        );
    }
}

/// Those that may be stored already. Before the first attempt others hardly ever are, and then the unique key tells.
fn ids_to_look_up<A>(batch: &[Waiting<A>], past: Past) -> Vec<Uuid> {
    batch
        .iter()
        .map(|waiting| waiting.post.request_id)
        .filter(|id| past.attempts > 0 || matches!(id, RequestId::Caller(_)))
        .map(RequestId::uuid)
        .collect()
}

/// The replies of then to all repeated requests of a batch.
fn read_again(
    connection: &mut Connection,
    numbered: &Numbered<'_>,
) -> Result<HashMap<u64, Window>, mysql::Error> {
    let repeated: Vec<u64> = numbered.fates.iter().filter_map(Fate::repeated).collect();
    let mut replies = HashMap::new();
    for some in repeated.chunks(MOST_READ_AGAIN) {
        let messages = store::windows(connection, some)?;
        for &seq in some {
            // Its predecessors stand before it, for there is no hole.
            let last = messages.partition_point(|message| message.seq < seq);
            let shown = &messages[last.saturating_sub(PREDECESSORS)..=last];
            // Each in a buffer of its own: a caller who does not read keeps no more than what is his.
            let reply = RenderedHistory::new(shown).window(shown.len() - 1);
            replies.insert(seq, reply);
        }
    }
    Ok(replies)
}

fn connected<'c>(
    connection: &'c mut Option<Connection>,
    store: &Store,
) -> Result<&'c mut Connection, Failure> {
    match connection {
        Some(connection) => Ok(connection),
        None => match store.writing_connection() {
            Ok(new) => Ok(connection.insert(new)),
            Err(said) => Err(Failure::new(Trouble::Connection, Finding::Unchanged, said)),
        },
    }
}

/// Their time was over before their batch was tried: those before them took long.
fn report_waiting_in_vain(messages: usize) -> Incident {
    let incident = Incident::draw();
    tracing::warn!(instance = %incident, messages, "waited too long in the queue");
    incident
}
