//! Clients for whom there is no room.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::metrics::EdgeMetrics;
use super::problem::Problem;
use super::response::{Connection, Response};
use crate::telemetry::Incident;

/// Most clients that are attended to at once. What exceeds it waits in the kernel's backlog.
const MAX_CLIENTS: usize = 32;
/// How long one may take to send a request and to read the refusal. With more, those who say nothing would keep others
/// from theirs for long.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(200);

/// Answers 503 to whoever connects while connections cannot be served, on one thread and without ever waiting.
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

    /// Takes who waits at `listener`, which must not block, and sees to all who were taken.
    pub(super) fn attend(&mut self, listener: &Socket, metrics: &EdgeMetrics) {
        let refusal = Response::from(no_room().with_incident(self.incident));
        let refusal = refusal.render(false, Connection::Close);
        self.clients.retain_mut(|client| client.attend(&refusal));
        while self.clients.len() < MAX_CLIENTS {
            // Nobody waits, the system has nothing left for now, or the server stops.
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

/// Tells a client that it cannot be served for now.
pub(super) fn no_room() -> Problem {
    Problem::new(
        503,
        "This server has no room for another connection. This attempt stored nothing; try another replica, or again later.",
    )
}

impl Client {
    /// Whether it is to be attended to again. It is answered once it has sent something, for an answer to nothing
    /// confuses clients; and then heard to its end, for the kernel takes the answer back if a request stays unread.
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
                // However fast it sends, others wait too.
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
