//! What the answer to a message goes to.

use crate::error::Error;
use crate::handover::Share;
use crate::http::{self, Exchange};
use crate::message::Window;

/// What the answer to a message goes to.
#[expect(
    clippy::large_enum_variant,
    reason = "most are callers, and a box would cost each of them an allocation"
)]
pub(super) enum Recipient {
    /// Who sent it.
    Caller(Exchange),
    /// The batch in which another replica sent it.
    Share(Share),
}

/// Answers several messages at once: cheaper than each by itself. Batches first, for which several callers wait.
pub(super) fn answer_all(answers: impl IntoIterator<Item = (Recipient, Result<Window, Error>)>) {
    let (mut batches, mut callers) = (Vec::new(), Vec::new());
    for (recipient, outcome) in answers {
        match recipient {
            Recipient::Caller(exchange) => callers.push((exchange, outcome.into())),
            Recipient::Share(share) => batches.extend(share.put(outcome)),
        }
    }
    batches.append(&mut callers);
    http::answer_all(batches);
}
