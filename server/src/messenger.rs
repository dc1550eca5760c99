//! The service behind the edge: messages into the writer's queue, pages out of the store.

mod recipient;

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::error::Error;
use crate::handover::{Batch, Peer, Share, Welcome};
use crate::http::{Exchange, PageRequest, Service};
use crate::incident::Reporter;
use crate::message::{Message, Post};
use crate::metrics::Metrics;
use crate::store::{self, Connection, Store};
use crate::writer::{Writer, WriterLimits};

use recipient::{Recipient, answer_all};

/// Stores messages and shows them.
pub struct Messenger {
    store: Store,
    writer: Writer<Recipient>,
    metrics: Arc<Metrics>,
    /// As other replicas know it that hand over to this one. None if it hands over itself.
    name: Option<Uuid>,
    /// Of questions that the database did not answer.
    failures: Reporter,
}

impl Messenger {
    /// Starts the writer, which hands over to `peer` if there is one.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        limits: WriterLimits,
        peer: Option<Peer>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let name = peer.is_none().then(Uuid::new_v4);
        let (shared, deliver) = (Arc::clone(&metrics), answer_all);
        let writer = Writer::start(store.clone(), limits, peer, shared, deliver)?;
        Ok(Self {
            store,
            writer,
            metrics,
            name,
            failures: Reporter::default(),
        })
    }

    /// Stores what waits, and ends the writer.
    pub fn finish(self) {
        self.writer.finish();
    }

    fn submit(&self, post: Post, recipient: Recipient) {
        if let Err((error, recipient)) = self.writer.submit(post, recipient) {
            // A share is no caller: who handed it over stores it.
            if let (Error::Busy(_), Recipient::Caller(_)) = (&error, &recipient) {
                self.metrics.writer.refused_full.inc();
            }
            answer_all([(recipient, Err(error))]);
        }
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
        self.submit(post, Recipient::Caller(exchange));
    }

    fn batch(&self, batch: Batch, exchange: Exchange) {
        if self.name != Some(batch.to) {
            let error = Error::Misdirected("it hands over itself, or was started again");
            return exchange.answer(error.into());
        }
        // In part, its outcome would be unknown to the other replica, which would store all of it once more.
        if !self.writer.has_room(batch.messages.len()) {
            return exchange.answer(Error::NoRoom.into());
        }
        let deadline = Instant::now() + batch.within.min(self.store.timeouts().patience());
        let shares = Share::all(batch.messages.len(), exchange);
        for ((message, request_id), share) in batch.messages.into_iter().zip(shares) {
            let post = Post {
                message,
                request_id,
                deadline,
            };
            self.submit(post, Recipient::Share(share));
        }
    }

    fn welcome(&self, from: Uuid) -> Result<Welcome, Error> {
        let name = self
            .name
            .ok_or(Error::Misdirected("it hands over itself"))?;
        if self.read(|connection| store::sees_name(connection, from))? {
            Ok(Welcome { name })
        } else {
            Err(Error::Misdirected("it works on another database"))
        }
    }

    fn page(&self, request: PageRequest) -> Result<Vec<Message<'static>>, Error> {
        self.read(|connection| store::page(connection, request.before, request.limit))
    }

    fn ready(&self) -> Result<(), Error> {
        self.read(|connection| store::check_writable(connection))
    }

    fn observe(&self) {
        self.writer.observe();
        self.store.observe(&self.metrics.database);
    }
}
