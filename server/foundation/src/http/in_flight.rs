//! Requests that are not answered yet, in the pipelines of their connections.

use std::net::SocketAddr;
use std::time::Instant;

use tiny_http::Request;
use uuid::Uuid;

use super::pipeline::Pipelines;
use super::request::Rest;
use super::sockets::{self, Shutdown};
use super::upgrade::Upgrade;

/// A request whose response is not written yet. Boxed wherever it goes: it is large, and passes through many hands.
pub(super) struct InFlight {
    pub(super) request: Request,
    /// The address of its peer.
    pub(super) connection: SocketAddr,
    pub(super) arrived: Instant,
    /// What it is counted by.
    pub(super) label: usize,
    /// What its client may still send of the body.
    pub(super) rest: Rest,
    /// The response asks the client to close the connection.
    pub(super) close: bool,
    /// Its connection is shut down when the response is written.
    pub(super) shut_down: bool,
    /// The connection leaves HTTP with the response, which is 101 then.
    pub(super) upgrade: Option<Box<Upgrade>>,
    /// What it stores, for the log.
    pub(super) resource: Option<Uuid>,
}

/// Ends a connection of which the reader or the writer is held, and serves nothing of what has arrived on it.
pub(super) fn shut_down(pipelines: &Pipelines, connection: SocketAddr) {
    sockets::shut_down(connection, Shutdown::Both);
    pipelines.give_up(connection, Instant::now());
}
