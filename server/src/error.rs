//! What can go wrong with a request, and what its caller sees of it.

use std::time::Duration;

use crate::incident::Incident;

/// Why a request was not answered with 200. The text is for the caller: it tells what to change, and nothing of the
/// server's inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body, the query or a header is not of the form the contract asks for.
    #[error("{0}")]
    Malformed(String),

    /// No such path.
    #[error("There is nothing at this path. Messages are at /messages.")]
    NotFound,

    /// The path exists, the method does not. Holds the methods that do, as the `Allow` header lists them.
    #[error("This path takes {0} only.")]
    MethodNotAllowed(&'static str),

    /// The body is larger than this many bytes, by its declared or its real length.
    #[error("The body is larger than {0} bytes. Send a shorter text.")]
    BodyTooLarge(usize),

    /// The body is declared to be something other than JSON.
    #[error("Send the message as JSON, with `Content-Type: application/json`.")]
    NotJson,

    /// The body is declared to be compressed, or otherwise encoded.
    #[error("Send the message as it is, without a `Content-Encoding`.")]
    Encoded,

    /// Well-formed, but outside a limit of the contract.
    #[error("{0}")]
    OutsideLimit(String),

    /// The idempotency key was used before, with another message.
    #[error("This Idempotency-Key was used for another message. Draw a new key for each message.")]
    KeyReused,

    /// Nothing more is served on this connection: it is not known where a request on it ended, too many were sent ahead,
    /// or an answer before could not be delivered. Nothing was stored.
    #[error(
        "Nothing more is taken on this connection: a request before had no clear end, too many were sent ahead of their \
         answers, or one of these could not be delivered. This attempt stored nothing; try again on a new connection."
    )]
    ConnectionGivenUp(Incident),

    /// The writer's queue is full. Nothing was stored.
    #[error(
        "Too many messages are waiting. This attempt stored nothing; try again a little later."
    )]
    Busy(Incident),

    /// The database did not take the message in time. Nothing was stored.
    #[error(
        "The database does not answer, or takes no writes. This attempt stored nothing; try again later."
    )]
    DatabaseAway(Incident),

    /// None of the database's hosts takes writes. Says how many of them are in which state. Nothing was stored.
    #[error(
        "No host of the database takes writes now: {0}. This attempt stored nothing; try again later."
    )]
    NoPrimary(String, Incident),

    /// No further connection can be served for now. Nothing was stored.
    #[error(
        "This server has no room for another connection. This attempt stored nothing; try another replica, or again later."
    )]
    Full(Incident),

    /// The server is stopping. Nothing was stored.
    #[error("This server is shutting down. This attempt stored nothing; try another replica.")]
    ShuttingDown(Incident),

    /// The message was sent to the database, and no answer came in time.
    #[error(
        "It is not known whether the message was stored. If you sent an Idempotency-Key, send it again with the same: it \
         is stored once at most. Without one, look for it in the history first."
    )]
    OutcomeUnknown(Incident),

    /// A defect of the server. Its cause stands in the log.
    #[error("The server failed on this message. The operator finds the cause in the log.")]
    Defect(Incident),
}

impl Error {
    /// The HTTP status, by the contract's table.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTooLarge(_) => 413,
            Self::NotJson | Self::Encoded => 415,
            Self::OutsideLimit(_) | Self::KeyReused => 422,
            Self::Defect(_) => 500,
            Self::ConnectionGivenUp(_)
            | Self::Busy(_)
            | Self::DatabaseAway(_)
            | Self::NoPrimary(..)
            | Self::Full(_)
            | Self::ShuttingDown(_) => 503,
            Self::OutcomeUnknown(_) => 504,
        }
    }

    /// How long the caller does well to wait before the next try; the `Retry-After` header.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.status() == 503).then_some(Duration::from_secs(1))
    }

    /// What the log tells of the cause, where the cause lies with the server.
    #[must_use]
    pub fn incident(&self) -> Option<Incident> {
        match *self {
            Self::ConnectionGivenUp(incident)
            | Self::Busy(incident)
            | Self::DatabaseAway(incident)
            | Self::NoPrimary(_, incident)
            | Self::Full(incident)
            | Self::ShuttingDown(incident)
            | Self::OutcomeUnknown(incident)
            | Self::Defect(incident) => Some(incident),
            Self::Malformed(_)
            | Self::NotFound
            | Self::MethodNotAllowed(_)
            | Self::BodyTooLarge(_)
            | Self::NotJson
            | Self::Encoded
            | Self::OutsideLimit(_)
            | Self::KeyReused => None,
        }
    }
}
