//! What can go wrong with a message, and what its client is told.

use foundation::http::Problem;
use foundation::telemetry::Incident;

/// Why a request is not answered with 200. The text is for the client: it says what to change, and nothing about the server's
/// internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is not a JSON object with the two strings.
    #[error("{0}")]
    Malformed(String),

    /// The database takes texts of so many bytes at most from this user. Nothing was stored.
    #[error(
        "The database takes no message as large as this now. Send a text of at most {0} bytes in UTF-8."
    )]
    TooLargeForDatabase(usize),

    /// Well-formed, but outside a limit of the contract.
    #[error("{0}")]
    OutsideLimit(String),

    /// The idempotency key was used before, with another message.
    #[error("This Idempotency-Key was used for another message. Draw a new key for each message.")]
    KeyReused,

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
    /// The HTTP status, by the contract's table, and the incident in the log if the cause lies with the server.
    #[must_use]
    pub fn status(&self) -> (u16, Option<Incident>) {
        match *self {
            Self::Malformed(_) => (400, None),
            Self::TooLargeForDatabase(_) => (413, None),
            Self::OutsideLimit(_) | Self::KeyReused => (422, None),
            Self::Defect(incident) => (500, Some(incident)),
            Self::Busy(incident) | Self::DatabaseAway(incident) => (503, Some(incident)),
            Self::OutcomeUnknown(incident) => (504, Some(incident)),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, incident) = error.status();
        Self::new(status, error.to_string()).with_incident(incident)
    }
}
