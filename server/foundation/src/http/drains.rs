//! What callers may still send of bodies that are not wanted.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{ReadWrite, Request};

use super::metrics::EdgeMetrics;
use super::workers::Workers;

use super::exchange::Afterwards;
use super::outbox::{self, Lines};
use super::request;

/// When `tiny_http` reads the rest of an unread body, it asks for a buffer of its whole declared length. Up to here the
/// system grants that without spending memory; for more than there is, the process would be aborted.
const MOST_TO_DRAIN: usize = 256 << 20;

/// How long a refused body may take to its end. Whoever still sends then has had the time to read the refusal.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);

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
    pub(super) fn ignore(&self, request: Request, peer: SocketAddr) {
        if request.body_length().unwrap_or(0) > MOST_TO_DRAIN {
            return self.give_up(request, peer);
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
        afterwards: Afterwards,
    ) {
        if declared > MOST_TO_DRAIN {
            return self.give_up(stream, connection);
        }
        let lines = Arc::clone(&self.lines);
        self.workers.submit(Box::new(move || {
            let is_at_its_end = drain(&mut stream, Instant::now() + LONGEST_DRAIN);
            if afterwards == Afterwards::ShutDown || !is_at_its_end {
                outbox::shut_down(&lines, connection);
            }
        }));
    }

    /// Keeps `tiny_http` from reading the rest of a body. Costs the thread and the descriptors of this connection, until
    /// the process ends.
    fn give_up<T>(&self, rest: T, connection: SocketAddr) {
        tracing::warn!(
            "refused a body of more than {MOST_TO_DRAIN} bytes; its connection is given up"
        );
        outbox::shut_down(&self.lines, connection);
        std::mem::forget(rest);
    }

    /// Brings the gauges up to date.
    pub(super) fn observe(&self, metrics: &EdgeMetrics) {
        metrics.set_workers(self.workers.state());
    }
}

/// Reads to the end, and tells whether it came before `deadline` and before more than [`MOST_TO_DRAIN`].
fn drain(from: &mut dyn Read, deadline: Instant) -> bool {
    let mut some = [0; 8 << 10];
    let mut left = MOST_TO_DRAIN;
    while Instant::now() < deadline {
        match from.read(&mut some) {
            Ok(0) => return true,
            Ok(length) if length <= left => left -= length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_body_without_end_is_drained_for_a_while_only() {
        let now = Instant::now();
        assert!(drain(&mut io::empty(), now + LONGEST_DRAIN));
        assert!(!drain(&mut io::repeat(0), now));
        assert!(!drain(&mut io::repeat(0), now + LONGEST_DRAIN), "too much");
    }
}
