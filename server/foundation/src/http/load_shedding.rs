//! Refuses clients while there is no room for connections.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::metrics::EdgeMetrics;
use super::problem::Problem;
use super::response::{Connection, Response};
use crate::telemetry::Incident;

/// Most clients that are attended to at once. More wait in the kernel's backlog.
const MAX_CLIENTS: usize = 32;
/// How long a client may take to send a request and to read the refusal. With more, silent clients would hold up others for
/// long.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(200);

/// Answers new connections with 503, on one thread and without blocking.
pub(super) struct LoadShedding {
    clients: Vec<Client>,
    incident: Incident,
}

struct Client {
    socket: Socket,
    since: Instant,
    is_answered: bool,
}

impl LoadShedding {
    pub(super) fn new(incident: Incident) -> Self {
        Self {
            clients: Vec::new(),
            incident,
        }
    }

    /// Accepts what waits at `listener`, which must be non-blocking, and makes progress with each client.
    pub(super) fn attend(&mut self, listener: &Socket, metrics: &EdgeMetrics) {
        let refusal = Response::from(no_room().with_incident(self.incident));
        let refusal = refusal.render(false, Connection::Close);
        self.clients.retain_mut(|client| client.attend(&refusal));
        while self.clients.len() < MAX_CLIENTS {
            // No client waits, the system has no descriptor left, or the server stops.
            let Ok((socket, _)) = listener.accept() else {
                break;
            };
            metrics.turned_away.inc();
            if socket.set_nonblocking(true).is_ok() {
                self.clients.push(Client {
                    socket,
                    since: Instant::now(),
                    is_answered: false,
                });
            }
        }
    }
}

/// The answer if there is no room for a connection.
pub(super) fn no_room() -> Problem {
    Problem::new(
        503,
        "This server has no room for another connection. This attempt stored nothing; try another replica, or again later.",
    )
}

impl Client {
    /// Makes progress, and returns false when the client is done with. It is answered once it has sent something, because an
    /// answer before a request confuses clients; then the request is read, because the kernel discards the answer if it stays
    /// unread.
    fn attend(&mut self, refusal: &[u8]) -> bool {
        let mut unread = [0; 4096];
        loop {
            match (&self.socket).read(&mut unread) {
                Ok(0) => return false,
                Ok(_) if !self.is_answered => {
                    self.is_answered = true;
                    let sent = (&self.socket).write_all(refusal);
                    if sent
                        .and_then(|()| self.socket.shutdown(Shutdown::Write))
                        .is_err()
                    {
                        return false;
                    }
                }
                // Whatever it still sends, other clients wait.
                Ok(_) if self.since.elapsed() >= CLIENT_TIMEOUT => return false,
                Ok(_) => {}
                Err(error) => {
                    return error.kind() == io::ErrorKind::WouldBlock
                        && self.since.elapsed() < CLIENT_TIMEOUT;
                }
            }
        }
    }
}
