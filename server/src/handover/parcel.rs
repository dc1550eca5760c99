//! The taking side: a batch of another replica, whose messages wait in the queue among those of our own callers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::http::{self, Answer, Exchange};
use crate::message::Window;

use super::wire;

type Outcome = Result<Window, Error>;

/// What the answer to a message goes to.
#[expect(
    clippy::large_enum_variant,
    reason = "most are callers, and a box would cost each of them an allocation"
)]
pub enum Recipient {
    /// Who sent it.
    Caller(Exchange),
    /// The batch in which another replica sent it.
    Share(Share),
}

/// The place of a message in a batch that another replica waits for.
pub struct Share {
    parcel: Arc<Mutex<Parcel>>,
    place: usize,
}

/// Answered when the last of its shares is gone.
struct Parcel {
    /// Only dropping the parcel takes it.
    exchange: Option<Exchange>,
    /// None for a share that was dropped without.
    outcomes: Vec<Option<Outcome>>,
}

impl Recipient {
    /// For each message of a batch; `exchange` gets the answers of all.
    pub fn shares(messages: usize, exchange: Exchange) -> impl Iterator<Item = Self> {
        let parcel = Arc::new(Mutex::new(Parcel {
            exchange: Some(exchange),
            outcomes: (0..messages).map(|_| None).collect(),
        }));
        (0..messages).map(move |place| {
            let parcel = Arc::clone(&parcel);
            Self::Share(Share { parcel, place })
        })
    }
}

/// Answers several messages at once: cheaper than each by itself.
pub fn answer_all(answers: impl IntoIterator<Item = (Recipient, Outcome)>) {
    let callers = answers
        .into_iter()
        .filter_map(|(recipient, outcome)| match recipient {
            Recipient::Caller(exchange) => Some((exchange, outcome)),
            Recipient::Share(share) => {
                share.put(outcome);
                None
            }
        });
    http::answer_all(callers);
}

impl Share {
    fn put(self, outcome: Outcome) {
        let mut parcel = self.parcel.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.outcomes[self.place] = Some(outcome);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let outcomes: Option<Vec<Outcome>> = self.outcomes.drain(..).collect();
        // Dropped without an answer, an exchange answers 500: the replica then looks for its messages by itself.
        if let (Some(exchange), Some(outcomes)) = (self.exchange.take(), outcomes) {
            exchange.answer(answer(&outcomes));
        }
    }
}

/// All replies, or one error for the whole batch: that nothing of it was stored, or else that nobody knows.
fn answer(outcomes: &[Outcome]) -> Answer {
    let failures = || {
        outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .filter(|error| **error != Error::KeyReused)
    };
    let nothing_stored = failures().filter(|error| error.status() == 503).count();
    match failures().next() {
        None => Answer::json(wire::render_replies(outcomes)),
        Some(error) if nothing_stored == outcomes.len() => error.clone().into(),
        Some(error) => match error.incident() {
            Some(incident) => Error::OutcomeUnknown(incident).into(),
            None => error.clone().into(),
        },
    }
}
