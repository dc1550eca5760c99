//! The service behind the edge: messages into the writer's queue, pages out of the store.

use std::sync::Arc;

use crate::error::Error;
use crate::http::{Exchange, PageRequest, Service, answer_all};
use crate::incident::Reporter;
use crate::message::{Message, Post};
use crate::metrics::Metrics;
use crate::store::{self, Connection, Store};
use crate::writer::{Writer, WriterLimits};

/// Stores messages and shows them.
pub struct Messenger {
    store: Store,
    writer: Writer<Exchange>,
    metrics: Arc<Metrics>,
    /// Of questions that the database did not answer.
    failures: Reporter,
}

impl Messenger {
    /// Starts the writer.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        limits: WriterLimits,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (shared, deliver) = (Arc::clone(&metrics), answer_all);
        let writer = Writer::start(store.clone(), limits, shared, deliver)?;
        Ok(Self {
            store,
            writer,
            metrics,
            failures: Reporter::default(),
        })
    }

    /// Stores what waits, and ends the writer.
    pub fn finish(self) {
        self.writer.finish();
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, mysql::Error>,
    ) -> Result<T, Error> {
        let mut connection = self
            .store
            .connection()
            .map_err(|error| self.away("no connection to the database", &error))?;
        query(&mut connection).map_err(|error| {
            connection.give_up();
            self.away("the database does not answer", &error)
        })
    }

    fn away(&self, what: &'static str, error: &(dyn std::error::Error + 'static)) -> Error {
        let log = |incident| tracing::warn!(instance = %incident, error, "{what}");
        let incident = self.failures.report(log);
        match self.store.nowhere() {
            None => Error::DatabaseAway(incident),
            Some(nowhere) => Error::NoPrimary(nowhere.in_general(), incident),
        }
    }
}

impl Service for Messenger {
    fn post(&self, post: Post, exchange: Exchange) {
        if let Err((error, exchange)) = self.writer.submit(post, exchange) {
            if let Error::Busy(_) = error {
                self.metrics.writer.refused_full.inc();
            }
            exchange.answer(error.into());
        }
    }

    fn page(&self, request: PageRequest) -> Result<Vec<Message<'static>>, Error> {
        self.read(|connection| store::page(connection, request.before, request.limit))
    }

    fn ready(&self) -> Result<(), Error> {
        self.store
            .check_writing()
            .map_err(|error| self.away("no connection to the database for writing", &error))?;
        self.read(|connection| store::check_writable(connection))
    }

    fn observe(&self) {
        self.writer.observe();
        self.store.observe(&self.metrics.database);
    }
}
