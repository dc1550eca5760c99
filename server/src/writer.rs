//! The writer: one thread per replica, which takes all queued messages and stores them in one transaction.
//!
//! Only one writer can hold the lock at a time, whatever the number of connections, so it is fastest to do much per lock. There
//! is no timer and no minimum: an idle server stores a message at once, and a busy one collects the next batch while the current
//! one is stored (group commit, as `DBImpl::Write` of LevelDB does). Messages that are not stored in time are answered by
//! another thread.

mod thread;
mod batcher;
mod attempts;
mod deadlines;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use foundation::config::at_least_one;
use foundation::http::{Exchange, Problem};
use foundation::mysql::Database;
use foundation::telemetry::{Reporter, size};

use crate::error::Error;
use crate::message::Submission;
use crate::metrics::WriterMetrics;
use crate::store::Store;

use batcher::QueuedMessage;
use deadlines::{Deadlines, PendingReply};
use thread::WriterThread;

/// Limits of the writer.
#[derive(Debug, Clone, Copy, Args)]
pub struct WriterLimits {
    /// Most messages that wait for the database; more are refused with 503
    #[arg(long, default_value_t = 4096, value_parser = at_least_one, value_name = "COUNT")]
    pub queue_messages: usize,

    /// Most messages in one transaction, up to 900
    #[arg(long, default_value_t = 256, value_parser = batch_size, value_name = "COUNT")]
    pub batch_messages: usize,

    /// Bytes of users and texts that end a batch
    #[arg(long, default_value_t = 1 << 20, value_parser = at_least_one, value_name = "BYTES")]
    pub batch_bytes: usize,
}

/// `MariaDB` converts a list of 1,000 values or more into a table (`in_predicate_conversion_threshold`), and then does not lock
/// the counters in order.
const MAX_BATCH: usize = 900;

fn batch_size(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|size| match size {
        too_many if too_many > MAX_BATCH => Err(format!("must be at most {MAX_BATCH}")),
        fine => Ok(fine),
    })
}

/// The queue's sending end, and the threads behind the queue.
pub struct Writer {
    queue: Sender<QueuedMessage>,
    deadlines: Arc<Deadlines>,
    database: Database,
    /// Closed when the thread has ended; nothing is ever sent.
    ended: Receiver<Infallible>,
    metrics: Arc<WriterMetrics>,
}

impl Writer {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        limits: WriterLimits,
        metrics: Arc<WriterMetrics>,
    ) -> std::io::Result<Self> {
        // Sending never blocks: if the queue is full, the client is told so.
        let (queue, receiver) = bounded(limits.queue_messages);
        metrics.queue_limit.set(size(limits.queue_messages));
        let (alive, ended) = bounded(0);
        let database = store.database.clone();
        let writer = WriterThread::new(store, receiver, limits, Arc::clone(&metrics));
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                writer.work();
                drop(alive);
            })?;
        let deadlines = Arc::new(Deadlines::new(database.clone(), Arc::clone(&metrics)));
        let for_thread = Arc::clone(&deadlines);
        std::thread::Builder::new()
            .name("deadlines".to_owned())
            .spawn(move || for_thread.run())?;
        Ok(Self {
            queue,
            deadlines,
            database,
            ended,
            metrics,
        })
    }

    /// Queues a message. Its exchange is answered when the message is stored, or at its deadline; if the queue is full, at once.
    /// Does not block.
    pub fn submit(&self, submission: Submission, exchange: Exchange) {
        let (deadline, reply) = (exchange.deadline(), PendingReply::new(exchange));
        let queued = QueuedMessage {
            submission,
            reply: Arc::clone(&reply),
        };
        match self.queue.try_send(queued) {
            Ok(()) => self.deadlines.add(deadline, &reply),
            Err(TrySendError::Full(_)) => {
                self.metrics.refused_full.inc();
                if let Some(exchange) = reply.take() {
                    exchange.answer(Problem::from(self.busy()));
                }
            }
            // The thread has panicked. Dropping the exchange answers it with 500.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Brings the gauge of the queue up to date.
    pub fn observe(&self) {
        self.metrics.queue.set(size(self.queue.len()));
    }

    fn busy(&self) -> Error {
        static REPORTER: Reporter = Reporter::new();
        let report = || {
            REPORTER.report(|incident| {
                tracing::warn!(instance = %incident, waiting = self.queue.len(), "refusing messages: the queue is full");
            })
        };
        // During an outage of the database, the outage is the cause.
        Error::Busy(self.database.outage().incident().unwrap_or_else(report))
    }

    /// Stores what is queued, and ends the thread. At the deadline returns all the same: then the thread waits for the database.
    pub fn finish(self, deadline: Instant) {
        drop(self.queue);
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_deadline(deadline) {
            tracing::warn!("the writer still waits for the database");
        }
    }
}
