//! The taking side: a batch of another replica, whose messages wait in the queue among those of our own callers. The
//! answers to them become one.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::http::{Answer, Exchange};
use crate::message::Window;

use super::wire;

type Outcome = Result<Window, Error>;

/// The place of a message in a batch that another replica waits for.
pub(crate) struct Share {
    parcel: Arc<Mutex<Parcel>>,
    place: usize,
}

/// Answered when the last of its shares is gone.
struct Parcel {
    /// Until the batch is answered.
    exchange: Option<Exchange>,
    /// None for a share that was dropped without.
    outcomes: Vec<Option<Outcome>>,
}

impl Share {
    /// For each message of a batch; `exchange` gets the answers of all.
    pub(crate) fn all(messages: usize, exchange: Exchange) -> impl Iterator<Item = Self> {
        let parcel = Arc::new(Mutex::new(Parcel {
            exchange: Some(exchange),
            outcomes: (0..messages).map(|_| None).collect(),
        }));
        (0..messages).map(move |place| Self {
            parcel: Arc::clone(&parcel),
            place,
        })
    }

    /// The last one gives the answer to the whole batch.
    pub(crate) fn put(self, outcome: Outcome) -> Option<(Exchange, Answer)> {
        let mut parcel = self.parcel.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.outcomes[self.place] = Some(outcome);
        drop(parcel);
        let parcel = Arc::into_inner(self.parcel)?.into_inner();
        parcel.unwrap_or_else(PoisonError::into_inner).answered()
    }
}

impl Parcel {
    /// None if a share was dropped. Without its answer the exchange answers 500, and the replica looks for its messages
    /// by itself.
    fn answered(&mut self) -> Option<(Exchange, Answer)> {
        let exchange = self.exchange.take()?;
        let outcomes: Vec<Outcome> = self.outcomes.drain(..).collect::<Option<_>>()?;
        let answer = match failure(&outcomes) {
            None => Answer::json(wire::render_replies(&outcomes)),
            Some(error) => error.into(),
        };
        Some((exchange, answer))
    }
}

impl Drop for Parcel {
    /// For one whose last share was dropped, and one without any.
    fn drop(&mut self) {
        if let Some((exchange, answer)) = self.answered() {
            exchange.answer(answer);
        }
    }
}

/// The one error for the whole batch, if it failed: that nothing of it was stored, or else that nobody knows.
fn failure(outcomes: &[Outcome]) -> Option<Error> {
    let failures = || {
        outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .filter(|error| **error != Error::KeyReused)
    };
    let first = failures().next()?;
    let nothing_stored = failures().filter(|error| error.status() == 503).count();
    Some(match first.incident() {
        Some(incident) if nothing_stored < outcomes.len() => Error::OutcomeUnknown(incident),
        _ => first.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use crate::message::RenderedHistory;

    #[test]
    fn a_batch_is_answered_503_only_if_nothing_of_it_is_stored() {
        let stored = || Ok(RenderedHistory::of_rendered(["{}"]).window(0));
        let reused = || Err(Error::KeyReused);
        let busy = || Err(Error::Busy(Incident::draw()));
        let defect = || Err(Error::Defect(Incident::draw()));
        for (outcomes, status) in [
            (vec![], None),
            (vec![stored(), reused()], None),
            (vec![busy(), busy()], Some(503)),
            (vec![stored(), busy()], Some(504)),
            (vec![reused(), busy()], Some(504)),
            (vec![busy(), defect()], Some(504)),
        ] {
            let failure = failure(&outcomes);
            assert_eq!(failure.map(|error| error.status()), status, "{outcomes:?}");
        }
    }
}
