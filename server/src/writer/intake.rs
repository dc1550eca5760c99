//! What waits, and which of it goes into a batch.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::WriterLimits;
use super::deadlines::Owed;
use crate::message::Submission;
use crate::store::{FRAME, max_bytes};

/// A message that waits, and the response that it is owed.
pub(super) struct Waiting {
    pub(super) submission: Submission,
    pub(super) owed: Arc<Owed>,
}

/// Messages in the order in which they came.
pub(super) struct Intake {
    queue: Receiver<Waiting>,
    /// Taken from the queue, and not fit for the batch of then: the first of the next one.
    held_back: Option<Waiting>,
    limits: WriterLimits,
    /// The largest statement that the database takes.
    pub(super) max_packet: usize,
}

impl Intake {
    pub(super) fn new(queue: Receiver<Waiting>, limits: WriterLimits) -> Self {
        Self {
            queue,
            held_back: None,
            limits,
            max_packet: usize::MAX,
        }
    }

    /// All that waits, up to the limits; waits for the first.
    pub(super) fn next_batch(
        &mut self,
        timeout: Duration,
    ) -> Result<Vec<Waiting>, RecvTimeoutError> {
        let first = match self.held_back.take() {
            Some(first) => first,
            None => self.queue.recv_timeout(timeout)?,
        };
        let mut batch = vec![first];
        self.fill(&mut batch, |_| true);
        Ok(batch)
    }

    /// Adds what waits, up to the limits, and up to the first that may not join or does not fit.
    pub(super) fn fill(
        &mut self,
        batch: &mut Vec<Waiting>,
        may_join: impl Fn(&Submission) -> bool,
    ) {
        let mut bytes: usize = batch
            .iter()
            .map(|waiting| waiting.submission.message.weight())
            .sum();
        let mut packet = statement_bytes(batch);
        while self.held_back.is_none()
            && batch.len() < self.limits.batch_messages
            && bytes < self.limits.batch_bytes
        {
            match self.queue.try_recv() {
                Ok(next) if may_join(&next.submission) => {
                    packet += max_bytes(&next.submission.message);
                    if packet > self.max_packet {
                        self.held_back = Some(next);
                        break;
                    }
                    bytes += next.submission.message.weight();
                    batch.push(next);
                }
                Ok(next) => self.held_back = Some(next),
                Err(_empty_or_closed) => break,
            }
        }
    }
}

/// The largest statement of a batch, in bytes, at most.
pub(super) fn statement_bytes(batch: &[Waiting]) -> usize {
    let messages = batch
        .iter()
        .map(|waiting| max_bytes(&waiting.submission.message));
    FRAME + messages.sum::<usize>()
}
