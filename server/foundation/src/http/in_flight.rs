//! What is kept of a request until its response is written.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tiny_http::Request;
use uuid::Uuid;

/// A request whose response is not written yet. Boxed wherever it goes: it is large, and passes through many hands.
pub(super) struct InFlight {
    pub(super) request: Request,
    /// The address of its peer.
    pub(super) connection: SocketAddr,
    pub(super) arrived: Instant,
    /// What it is counted by.
    pub(super) label: usize,
    pub(super) afterwards: Afterwards,
    /// What it stores, for the log.
    pub(super) resource: Option<Uuid>,
}

/// What becomes of the connection when the response is written.
#[derive(Default)]
pub(super) enum Afterwards {
    #[default]
    AsTheClientAsks,
    /// The response asks the client to close it.
    Close,
    /// Nothing more is served on it, and what its client still sends is read for a while.
    End,
    /// It leaves HTTP with the response, which this writes.
    Upgrade(Box<dyn FnOnce(Request) -> io::Result<()> + Send>),
}
