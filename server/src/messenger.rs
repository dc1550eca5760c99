//! The service: messages into the writer's queue, pages out of the store.

use std::sync::Arc;
use std::time::Instant;

use foundation::http::Exchange;
use foundation::mysql::Access;
use mysql::Conn;

use crate::error::Error;
use crate::message::{Message, Submission};
use crate::metrics::WriterMetrics;
use crate::store::{self, Store};
use crate::writer::{Writer, WriterLimits};

/// Stores messages and shows them.
pub struct Messenger {
    store: Store,
    writer: Writer,
}

impl Messenger {
    /// Starts the writer.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        limits: WriterLimits,
        metrics: Arc<WriterMetrics>,
    ) -> std::io::Result<Self> {
        let writer = Writer::start(store.clone(), limits, metrics)?;
        Ok(Self { store, writer })
    }

    /// Stores what waits, and ends the writer, unless it still waits for the database at the deadline.
    pub fn end(self, deadline: Instant) {
        self.writer.finish(deadline);
    }

    /// Stores a message and answers when that is done, or refuses it. Does not block.
    pub fn submit(&self, submission: Submission, exchange: Exchange) {
        self.writer.submit(submission, exchange);
    }

    /// The last `limit` messages with a number below `before`, oldest first. Blocks on the database, until the deadline.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`], [`Error::NoPrimary`]
    pub fn page(
        &self,
        before: Option<u64>,
        limit: u64,
        deadline: Instant,
    ) -> Result<Vec<Message<'static>>, Error> {
        let page = move |connection: &mut Conn| store::page(connection, before, limit);
        Ok(self.store.read(Access::Read, deadline, page)?)
    }

    /// Asks whether the database takes writes. Blocks on it, until the deadline.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`], [`Error::NoPrimary`]
    pub fn check_writable(&self, deadline: Instant) -> Result<(), Error> {
        self.store.check_writer(deadline)?;
        Ok(self
            .store
            .read(Access::CheckWritable, deadline, store::check_writable)?)
    }

    /// Brings the gauges up to date.
    pub fn observe_gauges(&self) {
        self.writer.observe();
        self.store.observe();
    }
}
