//! The writer's thread: one batch after the other, each tried until it is stored or its time is over.

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
use super::deadlines::Progress;
use super::intake::{Intake, Waiting, statement_bytes};

/// Counters read for messages that may join late. Rows cost little, but with many users few would be of use.
const MAX_KNOWN_USERS: usize = 32;

/// Replies to repeats that are read at once: ten messages each, and long ones take memory.
const MAX_READ_AGAIN: usize = 16;

/// When this many single messages in a row fail as the whole batch did, the database is to blame, and the rest is not tried.
/// One alone may be a message that it cannot store.
const MAX_ALIKE: usize = 2;

/// The state of the writer's thread.
pub(super) struct WriterThread {
    store: Store,
    intake: Intake,
    connection: Option<Session>,
    /// The users of the batch before. Their counters are read as well, so that their messages may join late.
    known_users: Vec<String>,
    /// Rate-limits the line about messages that the database refuses.
    refusals: Reporter,
    /// Rate-limits the line about batches that are too large.
    splits: Reporter,
    metrics: Arc<WriterMetrics>,
}

impl WriterThread {
    pub(super) fn new(
        store: Store,
        waiting: Receiver<Waiting>,
        limits: WriterLimits,
        metrics: Arc<WriterMetrics>,
    ) -> Self {
        Self {
            store,
            intake: Intake::new(waiting, limits),
            connection: None,
            known_users: Vec::new(),
            refusals: Reporter::default(),
            splits: Reporter::default(),
            metrics,
        }
    }

    /// Stores one batch after the other until the queue is closed and empty.
    pub(super) fn work(mut self) {
        let keep_alive = self.store.database.timeouts().keep_alive();
        loop {
            match self.intake.next_batch(keep_alive) {
                Ok(batch) => self.survive(|writer| {
                    writer.store(batch, RetryState::default());
                }),
                Err(RecvTimeoutError::Timeout) => self.survive(Self::keep_alive),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// After a panic the connection is closed. The batch is dropped, which answers its clients 500.
    fn survive(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!("the writer panicked; it goes on with the next batch");
            self.clean_up(Recovery::Reconnect);
        }
    }

    /// Stores a batch and answers all of it, however often it must be tried. Gives the failure that ended it, if one did.
    fn store(&mut self, mut batch: Vec<Waiting>, mut retry: RetryState) -> Option<ErrorClass> {
        loop {
            note(&mut batch, retry.progress);
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
                // The ids were looked up under the lock, and were not there.
                failure.class = ErrorClass::Refused;
            }
            let incident = self.report(&failure, batch.len());
            retry.learn_of(&failure);
            note(&mut batch, retry.progress);
            let metrics = &self.metrics;
            metrics.failed(failure.class);
            // What was unknown before was resolved with the lock, or is counted.
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

    /// Logs the failure of an attempt, unless it is one of many.
    fn report(&self, failure: &Failure, messages: usize) -> Incident {
        match failure.class {
            ErrorClass::Refused => self.refusals.report(|incident| {
                tracing::error!(instance = %incident, messages, cause = failure.said, "the database refuses a batch");
            }),
            ErrorClass::TooLarge => self.splits.report(|incident| {
                tracing::warn!(instance = %incident, messages, cause = failure.said, "a batch is too large for the database");
            }),
            _ => self.store.database.outage().fail(Access::Write, failure),
        }
    }

    /// One message that the database refuses must not harm the others. But where it refuses one after the other, and does
    /// not say that it lies with them, the rest need not be tried.
    fn store_singly(
        &mut self,
        batch: Vec<Waiting>,
        retry: RetryState,
        together: ErrorClass,
        incident: Incident,
    ) {
        let mut alike = 0;
        let mut rest = batch.into_iter();
        while let Some(waiting) = rest.next() {
            let alone = self.store(vec![waiting], retry);
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

    /// Answers messages that need not be tried again.
    fn give_up(
        &self,
        batch: Vec<Waiting>,
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
                let message = batch.first().map(|waiting| &waiting.submission.message);
                let room = |message| store::max_text_bytes(message, self.intake.max_packet);
                Error::TooLargeForDatabase(message.map_or(0, room))
            }
            _ => Error::DatabaseAway(incident),
        };
        let answers = batch
            .into_iter()
            .map(|waiting| (waiting, Err(error.clone())));
        answer(answers);
    }

    /// One transaction: lock, number, insert, commit. Gives one answer for each message.
    ///
    /// What came while it waited for the lock joins the batch, if all that its numbering needs was read.
    fn attempt(
        &mut self,
        batch: &mut Vec<Waiting>,
        retry: RetryState,
    ) -> Result<Vec<Result<Part, Error>>, Failure> {
        let mut heads: Vec<String> = submissions(batch).map(row_head).collect();
        let look_up = ids_to_look_up(batch, retry);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let (session, max_packet) = self
                    .store
                    .writing_connection()
                    .map_err(|said| Failure::before_asking(ErrorClass::Connection, said))?;
                self.intake.max_packet = max_packet;
                none.insert(session)
            }
        };
        if statement_bytes(batch) > self.intake.max_packet {
            let said = format!("max_allowed_packet is {}", self.intake.max_packet);
            return Err(Failure::before_asking(ErrorClass::TooLarge, said));
        }
        // On a connection that takes less than it should they would not fit.
        let fits = self.intake.max_packet >= MIN_PACKET;
        let known = self.known_users.iter().filter(|_| fits).map(String::as_str);
        let of_batch = submissions(batch).map(|submission| submission.message.user());
        let users = of_batch.chain(known);

        let metrics = &self.metrics;
        let asked = Instant::now();
        let state =
            store::lock(connection, users, &look_up).map_err(|error| Failure::of(&error, None))?;
        let got = Instant::now();
        if retry.attempts == 0 {
            // One turn for the threads that have more messages ready: a larger batch saves more than it costs. With a
            // processor to spare it costs nothing.
            std::thread::yield_now();
            let punctual = batch.len();
            self.intake
                .fill(batch, |submission| state.can_number(submission));
            heads.extend(submissions(&batch[punctual..]).map(row_head));
        }
        let unanswered = batch.len();
        note(batch, retry.progress.max(Progress::Sent));
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

    /// Leaves the connection as the next attempt needs it.
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

    /// A writer that is silent for long is taken for frozen by the database, and loses its connection.
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

fn submissions(batch: &[Waiting]) -> impl Iterator<Item = &Submission> {
    batch.iter().map(|waiting| &waiting.submission)
}

/// Notes how far the messages are, and lets go of those that were answered since their time was over.
fn note(batch: &mut Vec<Waiting>, progress: Progress) {
    batch.retain(|waiting| waiting.owed.note(progress));
}

/// Answers those that are still owed a response.
fn answer(answers: impl Iterator<Item = (Waiting, Result<Part, Error>)>) {
    answer_all(answers.filter_map(|(waiting, answer)| Some((waiting.owed.take()?, answer))));
}

/// The request ids to look up: all on a repeated attempt; on the first one those that clients chose, as the unique key
/// tells of the others.
fn ids_to_look_up(batch: &[Waiting], retry: RetryState) -> Vec<Uuid> {
    batch
        .iter()
        .map(|waiting| waiting.submission.request_id)
        .filter(|id| retry.attempts > 0 || matches!(id, RequestId::Client(_)))
        .map(RequestId::uuid)
        .collect()
}

/// One answer for each message of a batch that is stored; `tail` are the messages before it.
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

/// Reads again what was replied to requests that were stored before this batch, by `seq`: as far as all of it is there.
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
            // Else somebody has deleted some, or a proxy asks a replica of the database which is late.
            if is_whole(&shown, seq) {
                // Each in a buffer of its own: a client who does not read keeps no more than what is his.
                let reply = RenderedHistory::new(&shown).window(shown.len() - 1);
                replies.insert(seq, reply);
            }
        }
    }
    Ok(replies)
}

/// Whether these are the message of this number and all that its reply shows before it.
fn is_whole(shown: &[Message<'_>], seq: u64) -> bool {
    let wanted = seq.saturating_sub(PREDECESSORS as u64).max(1)..=seq;
    shown.iter().map(|message| message.seq).eq(wanted)
}

fn unreadable(seq: u64) -> Error {
    let incident = Incident::draw();
    tracing::error!(instance = %incident, seq, "a stored message cannot be read, or not all before it");
    Error::Defect(incident)
}
