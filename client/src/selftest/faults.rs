//! The faults that the self-test injects into valid histories.

mod inject;

use self::inject::{
    add_late_request, add_unstored_request, change_page, change_reply, change_user,
    increment_user_seq, insert_hidden, insert_message, lose_message, reorder_answered,
    reorder_unknown, reuse_number, skip_user_seq, swap_in_coroutine, truncate_page,
    with_inner_request, with_unseen_block,
};
use super::model::{Message, Model, sent_at};
use crate::history::{Outcome, Reason, WINDOW};
use crate::verify::Check;

/// A way to break a promise. Several faults can break the same promise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The check by which the fault must be found.
    pub(crate) check: Check,
    pub(crate) meaning: &'static str,
    /// Injects the fault at a random place; returns none if the history has no place for it.
    pub(crate) inject: fn(&mut Model) -> Option<()>,
}

const fn fault(check: Check, meaning: &'static str, inject: fn(&mut Model) -> Option<()>) -> Fault {
    Fault {
        check,
        meaning,
        inject,
    }
}

/// All faults, in the order of the checks.
pub(crate) static FAULTS: [Fault; 31] = [
    fault(Check::WellFormed, "a reply of eleven messages", |model| {
        change_reply(model, |model, place, reply| {
            reply.insert(0, model.log[place - WINDOW].clone());
        })
    }),
    fault(Check::WellFormed, "a 200 that is no JSON", |model| {
        with_inner_request(model, |model, request, _| {
            model.requests[request].outcome = Outcome::Unknown(Reason::Unreadable);
        })
    }),
    fault(
        Check::OwnMessage,
        "a reply meant for another request",
        |model| {
            change_reply(model, |model, place, reply| {
                *reply = model.window_at(place - 1);
            })
        },
    ),
    fault(
        Check::OwnMessage,
        "the own message under another user",
        |model| change_user(model, |request| request.outcome == Outcome::Ok),
    ),
    fault(
        Check::OwnLast,
        "a reply with one message too new",
        |model| {
            change_reply(model, |model, place, reply| {
                reply.remove(0);
                reply.push(model.log[place + 1].clone());
            })
        },
    ),
    fault(
        Check::Consecutive,
        "a reply that skips a message",
        |model| change_reply(model, |_, _, reply| drop(reply.remove(4))),
    ),
    fault(
        Check::Consecutive,
        "a reply with two messages exchanged",
        |model| change_reply(model, |_, _, reply| reply.swap(3, 4)),
    ),
    fault(Check::WindowFull, "a reply of nine messages", |model| {
        change_reply(model, |_, _, reply| drop(reply.remove(0)))
    }),
    fault(
        Check::SeqUnique,
        "a number given a second time",
        reuse_number,
    ),
    fault(
        Check::OneContent,
        "a message shown with another text once",
        |model| change_reply(model, |_, _, reply| reply[5].text.push('!')),
    ),
    fault(
        Check::OneContent,
        "a message shown with another date once",
        |model| change_reply(model, |_, _, reply| reply[5].sent_at = sent_at(3_599_999)),
    ),
    fault(Check::StoredOnce, "a message stored twice", |model| {
        insert_message(model, |model, place| model.log[place - 5].clone())
    }),
    fault(
        Check::NothingInvented,
        "a message that nobody sent",
        |model| {
            model.regenerate_unshared(model.shape.unknown);
            insert_message(model, |model, place| Message {
                text: "buy now".to_owned(),
                ..model.log[place - 5].clone()
            })
        },
    ),
    fault(
        Check::NothingInvented,
        "a message under a user who did not send it",
        |model| {
            model.regenerate_unshared(model.shape.unknown);
            change_user(model, |request| {
                matches!(request.outcome, Outcome::Unknown(_))
            })
        },
    ),
    fault(
        Check::FailedAbsent,
        "a refused message that is stored",
        |model| {
            with_inner_request(model, |model, request, _| {
                model.requests[request].outcome = Outcome::Failed(Reason::Status(422));
            })
        },
    ),
    fault(
        Check::NothingLost,
        "an answered message whose number another one gets",
        |model| lose_message(model, Model::remove),
    ),
    fault(
        Check::NothingLost,
        "an answered message that all others skip",
        |model| lose_message(model, |model, place| model.hidden.push(place)),
    ),
    fault(Check::NoHole, "a number that does not exist", |model| {
        with_inner_request(model, |model, _, place| insert_hidden(model, place))
    }),
    fault(
        Check::NoHole,
        "more numbers unseen than requests of unknown outcome",
        |model| {
            with_unseen_block(model, |model, block| {
                for request in &mut model.requests {
                    if request.place.is_some_and(|place| block.contains(&place)) {
                        request.outcome = Outcome::Failed(Reason::Status(503));
                        request.place = None;
                    }
                }
            })
        },
    ),
    fault(
        Check::NoHole,
        "an unseen number that only a later request could have",
        |model| {
            with_unseen_block(model, |model, block| {
                add_late_request(model);
                insert_hidden(model, block.start);
            })
        },
    ),
    fault(
        Check::NoHole,
        "an unseen number for which no user was counted up",
        |model| {
            with_unseen_block(model, |model, block| {
                add_unstored_request(model, block.start);
                insert_hidden(model, block.start);
            })
        },
    ),
    fault(Check::UserSeq, "a user counted up by two", skip_user_seq),
    fault(
        Check::Counters,
        "a user counted up too often where nobody saw it",
        |model| with_unseen_block(model, |model, block| increment_user_seq(model, block.start)),
    ),
    fault(
        Check::Counters,
        "users counted up more often than numbers are unseen",
        |model| {
            with_unseen_block(model, |model, block| {
                add_unstored_request(model, block.start);
                increment_user_seq(model, block.start);
            })
        },
    ),
    fault(Check::SentAt, "a date before the one before", |model| {
        with_inner_request(model, |model, _, place| {
            model.log[place].sent_at = sent_at(0);
        })
    }),
    fault(
        Check::RealTime,
        "a message before one that was answered earlier",
        reorder_answered,
    ),
    fault(
        Check::RealTime,
        "a message of unknown outcome before it was sent",
        reorder_unknown,
    ),
    fault(
        Check::CoroutineOrder,
        "a coroutine's messages exchanged, the clock standing still",
        swap_in_coroutine,
    ),
    fault(
        Check::Page,
        "pages without the last messages",
        truncate_page,
    ),
    fault(Check::Page, "pages that skip a message", |model| {
        change_page(model, |page, at| drop(page.remove(at)))
    }),
    fault(
        Check::Page,
        "a message with another text on the pages",
        |model| change_page(model, |page, at| page[at].text.push('!')),
    ),
];
