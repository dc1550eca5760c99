//! The writer's thread stores one batch after the other, and tries each until it is stored or its time is over.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use foundation::http::{Part, answer_all};
use foundation::mysql::{Access, DatabaseError, ErrorClass, Recovery, Session};
use foundation::telemetry::{Incident, Reporter};
use uuid::Uuid;

use crate::error::Error;
use crate::message::{Message, PREDECESSORS, RenderedHistory, RequestId, Submission};
use crate::metrics::WriterMetrics;
use crate::numbering::{Assignment, Numbered, number};
use crate::store::{self, MIN_PACKET, NotCommitted, Store, row_head};

use super::WriterLimits;
use super::attempts::{Failure, RetryState};
use super::batcher::{Batcher, QueuedMessage, statement_bytes};
use super::deadlines::Progress;

/// Users whose counters are read in advance, for messages that join a batch late. A row costs little, but with many users few of
/// them would be used.
const MAX_KNOWN_USERS: usize = 32;

/// Replies to repeated requests that are read at once. Each is ten messages, and long ones take memory.
const MAX_READ_AGAIN: usize = 16;

/// When so many single messages in a row fail as the whole batch did, the fault lies with the database, and the rest is not
/// tried. A single one may be a message that it cannot store.
const MAX_ALIKE: usize = 2;

/// The state of the writer's thread.
pub(super) struct WriterThread {
    store: Store,
    batcher: Batcher,
    connection: Option<Session>,
    /// Users of the previous batch. Their counters are read as well, so that their messages may join late.
    known_users: Vec<String>,
    metrics: Arc<WriterMetrics>,
}

impl WriterThread {
    pub(super) fn new(
        store: Store,
        receiver: Receiver<QueuedMessage>,
        limits: WriterLimits,
        metrics: Arc<WriterMetrics>,
    ) -> Self {
        Self {
            store,
            batcher: Batcher::new(receiver, limits),
            connection: None,
            known_users: Vec::new(),
            metrics,
        }
    }

    /// Stores one batch after the other until the queue is closed and empty.
    pub(super) fn work(mut self) {
        let keep_alive = self.store.database.timeouts().keep_alive();
        loop {
            match self.batcher.next_batch(keep_alive) {
                Ok(batch) => self.catch_panic(|writer| {
                    writer.store(batch, RetryState::default());
                }),
                Err(RecvTimeoutError::Timeout) => self.catch_panic(Self::keep_alive),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Runs `work`, and closes the connection if it panics. The batch is dropped then, which answers its clients with 500.
    fn catch_panic(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!("the writer panicked; it goes on with the next batch");
            self.clean_up(Recovery::Reconnect);
        }
    }

    /// Stores a batch and answers all of it, after as many attempts as it takes. Returns the failure that ended it, if one did.
    fn store(
        &mut self,
        mut batch: Vec<QueuedMessage>,
        mut retry: RetryState,
    ) -> Option<ErrorClass> {
        loop {
            record_progress(&mut batch, retry.progress);
            if batch.is_empty() {
                return None;
            }
            let mut failure = match self.attempt(&mut batch, retry) {
                Ok(replies) => {
                    self.store.database.outage().succeed(Access::Write);
                    answer(batch.into_iter().zip(replies));
                    return None;
                }
                Err(failure) => failure,
            };
            if failure.class == ErrorClass::Duplicate && retry.attempts > 0 {
                // Not another replica's: the ids were looked up under the lock, and were absent.
                failure.class = ErrorClass::Refused;
            }
            let incident = self.report(&failure, batch.len());
            retry.record(&failure);
            record_progress(&mut batch, retry.progress);
            let metrics = &self.metrics;
            metrics.failed(failure.class);
            // What was in doubt before is resolved under the lock, or counted already.
            if failure.progress == Some(Progress::InDoubt) {
                metrics.unknown.inc_by(batch.len() as u64);
            }
            let recovery = failure.class.recovery();
            self.clean_up(recovery);
            match recovery {
                Recovery::TryAgain | Recovery::Reconnect => std::thread::sleep(retry.pause()),
                Recovery::Split | Recovery::TrySingly if batch.len() == 1 => {
                    self.give_up(batch, retry, failure.class, incident);
                    return Some(failure.class);
                }
                Recovery::Split => {
                    let second_half = batch.split_off(batch.len() / 2);
                    self.store(batch, retry);
                    return self.store(second_half, retry);
                }
                Recovery::TrySingly => {
                    self.store_singly(batch, retry, failure.class, incident);
                    return Some(failure.class);
                }
            }
        }
    }

    /// Logs the failure of an attempt, unless the same was logged just before.
    fn report(&self, failure: &Failure, messages: usize) -> Incident {
        static REFUSALS: Reporter = Reporter::new();
        static SPLITS: Reporter = Reporter::new();
        match failure.class {
            ErrorClass::Refused => REFUSALS.report(|incident| {
                tracing::error!(instance = %incident, messages, cause = failure.cause, "the database refuses a batch");
            }),
            ErrorClass::TooLarge => SPLITS.report(|incident| {
                tracing::warn!(instance = %incident, messages, cause = failure.cause, "a batch is too large for the database");
            }),
            _ => self.store.database.outage().fail(Access::Write, failure),
        }
    }

    /// Stores each message of a batch by itself, so that one that the database refuses does not harm the others. If it refuses
    /// one after the other, and does not say that the messages are the cause, the rest is not tried.
    fn store_singly(
        &mut self,
        batch: Vec<QueuedMessage>,
        retry: RetryState,
        together: ErrorClass,
        incident: Incident,
    ) {
        let mut alike = 0;
        let mut rest = batch.into_iter();
        while let Some(queued) = rest.next() {
            let alone = self.store(vec![queued], retry);
            alike = if alone == Some(together) {
                alike + 1
            } else {
                0
            };
            if alike == MAX_ALIKE && together == ErrorClass::Unknown {
                return self.give_up(rest.collect(), retry, together, incident);
            }
        }
    }

    /// Answers messages that are not tried again.
    fn give_up(
        &self,
        batch: Vec<QueuedMessage>,
        retry: RetryState,
        class: ErrorClass,
        incident: Incident,
    ) {
        let error = match class {
            _ if retry.progress == Progress::InDoubt => {
                self.metrics.unknown_given_up.inc_by(batch.len() as u64);
                Error::OutcomeUnknown(incident)
            }
            ErrorClass::Refused => Error::Defect(incident),
            ErrorClass::TooLarge => {
                let message = batch.first().map(|queued| &queued.submission.message);
                let room = |message| store::max_text_bytes(message, self.batcher.max_packet);
                Error::TooLargeForDatabase(message.map_or(0, room))
            }
            _ => Error::DatabaseAway(incident),
        };
        let answers = batch.into_iter().map(|queued| (queued, Err(error.clone())));
        answer(answers);
    }

    /// One transaction: lock, number, insert, commit. Returns one answer for each message.
    ///
    /// Messages that came while it waited for the lock join the batch, if all that is needed to number them was read.
    fn attempt(
        &mut self,
        batch: &mut Vec<QueuedMessage>,
        retry: RetryState,
    ) -> Result<Vec<Result<Part, Error>>, Failure> {
        let mut heads: Vec<String> = submissions(batch).map(row_head).collect();
        let look_up = ids_to_look_up(batch, retry);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                // Whatever the error is, the batch is not its cause.
                let (session, max_packet) =
                    self.store.writing_connection().map_err(|error| Failure {
                        class: ErrorClass::Connection,
                        ..Failure::of(&error, None)
                    })?;
                self.batcher.max_packet = max_packet;
                none.insert(session)
            }
        };
        if statement_bytes(batch) > self.batcher.max_packet {
            return Err(Failure {
                class: ErrorClass::TooLarge,
                progress: None,
                cause: format!("max_allowed_packet is {}", self.batcher.max_packet),
            });
        }
        // On a connection that takes smaller statements than it should, they would not fit.
        let fits = self.batcher.max_packet >= MIN_PACKET;
        let known = self.known_users.iter().filter(|_| fits).map(String::as_str);
        let of_batch = submissions(batch).map(|submission| submission.message.user());
        let users = of_batch.chain(known);

        let metrics = &self.metrics;
        let asked = Instant::now();
        let state =
            store::lock(connection, users, &look_up).map_err(|error| Failure::of(&error, None))?;
        let got = Instant::now();
        if retry.attempts == 0 {
            // Lets threads that are about to queue more messages run once: a larger batch saves more than this costs. With an
            // idle processor it costs nothing.
            std::thread::yield_now();
            let before = batch.len();
            self.batcher
                .fill(batch, |submission| state.can_number(submission));
            heads.extend(submissions(&batch[before..]).map(row_head));
        }
        let unanswered = batch.len();
        record_progress(batch, retry.progress.max(Progress::Sent));
        if batch.len() < unanswered {
            heads = submissions(batch).map(row_head).collect();
        }
        let in_doubt = retry.progress == Progress::InDoubt;
        if in_doubt {
            metrics.resolved(submissions(batch), &state);
        }
        let numbered = number(submissions(batch), &state);
        let sent = Instant::now();
        store::insert_and_commit(connection, &heads, &numbered, &state).map_err(
            |NotCommitted { error, in_doubt }| {
                let progress = if in_doubt {
                    Progress::InDoubt
                } else {
                    Progress::NotSent
                };
                Failure::of(&error, Some(progress))
            },
        )?;
        metrics.committed(&numbered, in_doubt, [asked, got, sent]);

        let users = numbered.counts.keys().take(MAX_KNOWN_USERS);
        self.known_users = users.map(|&user| user.to_owned()).collect();
        replies(connection, &numbered, &state.tail)
            .map_err(|error| Failure::of(&error, Some(Progress::InDoubt)))
    }

    /// Prepares the connection for the next attempt: rolls back, or closes it.
    fn clean_up(&mut self, recovery: Recovery) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if (recovery == Recovery::Reconnect || store::rollback(connection).is_err())
            && let Some(session) = self.connection.take()
        {
            session.give_up();
        }
    }

    /// Uses the idle connection: the database closes that of a writer that is silent for long, because it may be frozen.
    fn keep_alive(&mut self) {
        self.store.database.outage().settle();
        if self
            .connection
            .as_mut()
            .is_some_and(|connection| connection.ping().is_err())
        {
            self.clean_up(Recovery::Reconnect);
        }
    }
}

fn submissions(batch: &[QueuedMessage]) -> impl Iterator<Item = &Submission> {
    batch.iter().map(|queued| &queued.submission)
}

/// Records how far the messages are, and removes those that were answered at their deadlines meanwhile.
fn record_progress(batch: &mut Vec<QueuedMessage>, progress: Progress) {
    batch.retain(|queued| queued.reply.record(progress));
}

/// Answers those messages that are not answered yet.
fn answer(answers: impl Iterator<Item = (QueuedMessage, Result<Part, Error>)>) {
    answer_all(answers.filter_map(|(queued, answer)| Some((queued.reply.take()?, answer))));
}

/// The request ids to look up: on the first attempt those that clients chose, later all. An id that the server drew is new on the
/// first attempt.
fn ids_to_look_up(batch: &[QueuedMessage], retry: RetryState) -> Vec<Uuid> {
    batch
        .iter()
        .map(|queued| queued.submission.request_id)
        .filter(|id| retry.attempts > 0 || matches!(id, RequestId::Client(_)))
        .map(RequestId::uuid)
        .collect()
}

/// One answer for each message of a stored batch; `tail` are the messages before it.
fn replies(
    connection: &mut Session,
    numbered: &Numbered<'_>,
    tail: &[Message<'static>],
) -> Result<Vec<Result<Part, Error>>, DatabaseError> {
    let old = read_again(connection, numbered)?;
    let history = RenderedHistory::new(tail.iter().chain(&numbered.new));
    let reply = |assignment: &Assignment| match *assignment {
        Assignment::New(index) => Ok(history.window(tail.len() + index)),
        Assignment::KeyReused => Err(Error::KeyReused),
        Assignment::Repeat(seq) => old.get(&seq).cloned().ok_or_else(|| unreadable(seq)),
    };
    Ok(numbered.assignments.iter().map(reply).collect())
}

/// The replies to requests that were stored before this batch, by `seq`, as far as all of their messages are there.
fn read_again(
    connection: &mut Session,
    numbered: &Numbered<'_>,
) -> Result<HashMap<u64, Part>, DatabaseError> {
    let repeated: Vec<u64> = numbered
        .assignments
        .iter()
        .filter_map(|assignment| match *assignment {
            Assignment::Repeat(seq) => Some(seq),
            Assignment::New(_) | Assignment::KeyReused => None,
        })
        .collect();
    let mut replies = HashMap::new();
    for some in repeated.chunks(MAX_READ_AGAIN) {
        for (&seq, shown) in some.iter().zip(store::windows(connection, some)?) {
            // Otherwise some were deleted, or a proxy asked a replica of the database that lags behind.
            if is_whole(&shown, seq) {
                // Each in its own buffer: a client that does not read keeps only its own reply in memory.
                let reply = RenderedHistory::new(&shown).window(shown.len() - 1);
                replies.insert(seq, reply);
            }
        }
    }
    Ok(replies)
}

/// Whether these are the message with this number and all that its reply shows before it.
fn is_whole(shown: &[Message<'_>], seq: u64) -> bool {
    let wanted = seq.saturating_sub(PREDECESSORS as u64).max(1)..=seq;
    shown.iter().map(|message| message.seq).eq(wanted)
}

fn unreadable(seq: u64) -> Error {
    let incident = Incident::draw();
    tracing::error!(instance = %incident, seq, "a stored message cannot be read, or not all before it");
    Error::Defect(incident)
}
