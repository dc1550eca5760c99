//! What callers may still send of bodies that are not wanted.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tiny_http::{ReadWrite, Request};

use super::metrics::EdgeMetrics;
use super::workers::Workers;

use super::outbox::Lines;
use super::request;

/// When `tiny_http` reads the rest of an unread body, it asks for a buffer of its whole declared length. Up to here the
/// system grants that without spending memory; for more than there is, the process would be aborted.
const MOST_TO_DRAIN: usize = 256 << 20;

/// Threads that read such bodies. Apart from the others, because the caller decides how long it takes.
pub(super) struct Drains {
    workers: Workers<Box<dyn FnOnce() + Send>>,
    lines: Arc<Lines>,
}

impl Drains {
    pub(super) fn new(most_threads: usize, lines: Arc<Lines>) -> Self {
        let workers = Workers::new("drain", most_threads, |job: Box<dyn FnOnce() + Send>| job());
        Self { workers, lines }
    }

    /// For a request that gets no answer.
    pub(super) fn ignore(&self, request: Request) {
        if request.body_length().unwrap_or(0) > MOST_TO_DRAIN {
            return give_up(request);
        }
        let in_memory = request::is_in_memory(&request);
        // Without this `tiny_http` would answer 500. It reads the rest of the body meanwhile.
        let ignore = move || drop(request.into_writer());
        if in_memory {
            ignore();
        } else {
            self.workers.submit(Box::new(ignore));
        }
    }

    /// Reads the rest of a body of `declared` bytes, so that it is not taken for a request. Where that fails, what follows
    /// is not served.
    pub(super) fn drain(
        &self,
        mut stream: Box<dyn ReadWrite + Send>,
        declared: usize,
        connection: SocketAddr,
    ) {
        if declared > MOST_TO_DRAIN {
            return give_up(stream);
        }
        let lines = Arc::clone(&self.lines);
        self.workers.submit(Box::new(move || {
            let most = MOST_TO_DRAIN as u64;
            let mut rest = Read::by_ref(&mut stream).take(most);
            let drained = io::copy(&mut rest, &mut io::sink());
            if !drained.is_ok_and(|length| length < most) {
                lines.give_up(connection, Instant::now());
            }
        }));
    }

    /// Brings the gauges up to date.
    pub(super) fn observe(&self, metrics: &EdgeMetrics) {
        metrics.set_workers(self.workers.state());
    }
}

/// Keeps `tiny_http` from reading the rest of a body. Costs the thread and the descriptors of this connection, until the
/// process ends.
fn give_up<T>(rest: T) {
    tracing::warn!("refused a body of more than {MOST_TO_DRAIN} bytes; its connection is given up");
    std::mem::forget(rest);
}
