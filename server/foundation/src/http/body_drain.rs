//! The rest of bodies that were refused.

use std::io::{ErrorKind, Read};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::Request;

use crate::telemetry::Reporter;

use super::response_queue::ResponseQueue;
use super::sockets::{self, Shutdown};
use super::{descriptors, request};

/// To read the rest of an unread body, `tiny_http` allocates a buffer of its declared length. Up to this size the system grants
/// that without using memory; a buffer larger than all memory would abort the process.
const MAX_DRAINED: usize = 256 << 20;

/// How long a refused body is read. A client that still sends after this has had the time to read the refusal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection that is given up stays open, so that its client can read why. If it were shut down at once, and the
/// client still sent something, the system would discard what the client has not read yet (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_millis(500);

/// Connections whose thread and descriptors are lost until the process ends, see [`ResponseQueue::abandon`]. With half as many
/// `/healthz` fails; with so many the process ends, while it still has descriptors and threads.
const MAX_ABANDONED: u64 = 128;
/// At most one such connection for so many descriptors. Each takes two.
const ABANDONED_SHARE: u64 = 8;

/// How many abandoned connections end the process.
pub(super) fn max_abandoned() -> i64 {
    let most = descriptors::most().map_or(MAX_ABANDONED, |most| most / ABANDONED_SHARE);
    most.min(MAX_ABANDONED).cast_signed()
}

impl ResponseQueue {
    /// Drops a request that gets no answer.
    pub(super) fn ignore(self: &Arc<Self>, request: Request, peer: SocketAddr) {
        static REPORTER: Reporter = Reporter::new();
        self.metrics.ignored.inc();
        REPORTER.report(|incident| {
            tracing::warn!(instance = %incident, %peer, "ignoring requests on a connection that was given up");
        });
        if request.body_length().unwrap_or(0) > MAX_DRAINED {
            return self.abandon(request, peer);
        }
        let in_memory = request::is_in_memory(&request);
        // Otherwise `tiny_http` would answer 500. It reads the rest of the body here.
        let ignore = move || drop(request.into_writer());
        if in_memory {
            ignore();
        } else {
            self.drain.submit(Box::new(ignore));
        }
    }

    /// Reads the rest of the body of a connection's last request, and closes the connection. The client was told so, and nothing
    /// that follows is served (RFC 9112, section 9.6).
    pub(super) fn drain(self: &Arc<Self>, mut request: Request, connection: SocketAddr) {
        if request.body_length().unwrap_or(0) > MAX_DRAINED {
            return self.abandon(request, connection);
        }
        // Before the body is read, so that a client that waits for `100 Continue` gets none.
        sockets::shut_down(connection, Shutdown::Write);
        let this = Arc::clone(self);
        self.drain.submit(Box::new(move || {
            // With `Connection: upgrade` the reader ends only where the connection does.
            if !request::is_in_memory(&request) {
                let deadline = Instant::now() + DRAIN_TIMEOUT;
                // `tiny_http` goes on with the next request as soon as a read finds the end, and the last may take this long.
                let last_read = deadline + this.options.idle_timeout;
                this.pipelines.give_up(connection, last_read);
                let _ended = drain(request.as_reader(), deadline);
            }
            this.linger(connection);
            drop(request.into_writer());
        }));
    }

    /// Keeps `tiny_http` from reading the rest of a body. The thread and the descriptors of the connection are lost until the
    /// process ends.
    fn abandon(self: &Arc<Self>, request: Request, connection: SocketAddr) {
        static REPORTER: Reporter = Reporter::new();
        REPORTER.report(|incident| {
            tracing::warn!(
                instance = %incident, peer = %connection,
                "a body of more than {MAX_DRAINED} bytes: its connection costs a thread until the server is restarted"
            );
        });
        self.metrics.connections_abandoned.inc();
        mem::forget(request);
        sockets::shut_down(connection, Shutdown::Write);
        let this = Arc::clone(self);
        self.drain.submit(Box::new(move || this.linger(connection)));
    }

    fn linger(&self, connection: SocketAddr) {
        std::thread::sleep(LINGER);
        self.shut_down(connection);
    }

    /// Closes a connection, of which the caller holds the reader or the writer, and serves nothing more that has arrived on it.
    pub(super) fn shut_down(&self, connection: SocketAddr) {
        sockets::shut_down(connection, Shutdown::Both);
        self.pipelines.give_up(connection, Instant::now());
    }
}

/// Reads to the end. Returns false if that did not come before `deadline` and [`MAX_DRAINED`].
fn drain(from: &mut dyn Read, deadline: Instant) -> bool {
    let mut some = [0; 8 << 10];
    let mut left = MAX_DRAINED;
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
    fn a_body_without_end_is_drained_only_up_to_a_limit() {
        let now = Instant::now();
        assert!(drain(&mut io::empty(), now + DRAIN_TIMEOUT));
        assert!(!drain(&mut io::repeat(0), now));
        assert!(!drain(&mut io::repeat(0), now + DRAIN_TIMEOUT), "too much");
    }
}
