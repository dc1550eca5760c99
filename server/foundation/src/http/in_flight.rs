//! What is kept of a request until its response is written.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tiny_http::Request;
use uuid::Uuid;

/// A request whose response is not written yet. It is large, and passed on often, so it is always boxed.
pub(super) struct InFlight {
    pub(super) request: Request,
    /// The address of its peer.
    pub(super) connection: SocketAddr,
    pub(super) arrived: Instant,
    /// The index of its label in the metrics.
    pub(super) label: usize,
    pub(super) afterwards: Afterwards,
    /// The id of what it stores, for the log.
    pub(super) resource: Option<Uuid>,
}

/// What happens to the connection after the response.
#[derive(Default)]
pub(super) enum Afterwards {
    #[default]
    AsTheClientAsks,
    /// The response asks the client to close it.
    Close,
    /// Nothing more is served on it, and what its client still sends is read for a while.
    End,
    /// It is upgraded to another protocol by this function, which writes the response.
    Upgrade(Box<dyn FnOnce(Request) -> io::Result<()> + Send>),
}
