//! Takes messages from the queue, and makes batches of them.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::WriterLimits;
use super::deadlines::PendingReply;
use crate::message::Submission;
use crate::store::{FRAME, max_bytes};

/// A message in the queue, and the reply that it waits for.
pub(super) struct QueuedMessage {
    pub(super) submission: Submission,
    pub(super) reply: Arc<PendingReply>,
}

/// Makes batches, in the order in which the messages were queued.
pub(super) struct Batcher {
    queue: Receiver<QueuedMessage>,
    /// Taken from the queue, but did not fit into the batch: the first message of the next one.
    held_back: Option<QueuedMessage>,
    limits: WriterLimits,
    /// The largest statement that the database takes.
    pub(super) max_packet: usize,
}

impl Batcher {
    pub(super) fn new(queue: Receiver<QueuedMessage>, limits: WriterLimits) -> Self {
        Self {
            queue,
            held_back: None,
            limits,
            max_packet: usize::MAX,
        }
    }

    /// Waits for a message, and returns it with all others that are queued, up to the limits.
    pub(super) fn next_batch(
        &mut self,
        timeout: Duration,
    ) -> Result<Vec<QueuedMessage>, RecvTimeoutError> {
        let first = match self.held_back.take() {
            Some(first) => first,
            None => self.queue.recv_timeout(timeout)?,
        };
        let mut batch = vec![first];
        self.fill(&mut batch, |_| true);
        Ok(batch)
    }

    /// Adds queued messages, up to the limits, and up to the first that may not join or does not fit.
    pub(super) fn fill(
        &mut self,
        batch: &mut Vec<QueuedMessage>,
        may_join: impl Fn(&Submission) -> bool,
    ) {
        let mut bytes: usize = batch
            .iter()
            .map(|queued| queued.submission.message.weight())
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

/// An upper bound of the largest statement of a batch, in bytes.
pub(super) fn statement_bytes(batch: &[QueuedMessage]) -> usize {
    let messages = batch
        .iter()
        .map(|queued| max_bytes(&queued.submission.message));
    FRAME + messages.sum::<usize>()
}
