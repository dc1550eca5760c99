//! Plants one fault of each kind in a valid history.

mod plant;

use self::plant::{
    alter, count_up, counted_twice, inserted, lost, never_stored, nobody, number_taken, other_user,
    overtaken, own_order, page_changed, page_stale, sent_last, unknown_too_early, unseen,
    with_middle,
};
use super::model::{Message, Model, sent_at};
use crate::history::{Outcome, Reason, WINDOW};
use crate::verify::Check;

/// A way to break a promise. Some promises can be broken in several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The check by which the fault must be found.
    pub(crate) check: Check,
    pub(crate) meaning: &'static str,
    /// Plants the fault somewhere; returns none if the history has no place for it.
    pub(crate) plant: fn(&mut Model) -> Option<()>,
}

const fn fault(check: Check, meaning: &'static str, plant: fn(&mut Model) -> Option<()>) -> Fault {
    Fault {
        check,
        meaning,
        plant,
    }
}

/// All faults, in the order of the checks.
pub(crate) static FAULTS: [Fault; 31] = [
    fault(Check::WellFormed, "a reply of eleven messages", |model| {
        alter(model, |model, place, reply| {
            reply.insert(0, model.log[place - WINDOW].clone());
        })
    }),
    fault(Check::WellFormed, "a 200 that is no JSON", |model| {
        with_middle(model, |model, request, _| {
            model.requests[request].outcome = Outcome::Unknown(Reason::Unreadable);
        })
    }),
    fault(
        Check::OwnMessage,
        "a reply meant for another request",
        |model| alter(model, |model, place, reply| *reply = model.last(place - 1)),
    ),
    fault(
        Check::OwnMessage,
        "the own message under another user",
        |model| other_user(model, |request| request.outcome == Outcome::Ok),
    ),
    fault(
        Check::OwnLast,
        "a reply with one message too new",
        |model| {
            alter(model, |model, place, reply| {
                reply.remove(0);
                reply.push(model.log[place + 1].clone());
            })
        },
    ),
    fault(
        Check::Consecutive,
        "a reply that skips a message",
        |model| alter(model, |_, _, reply| drop(reply.remove(4))),
    ),
    fault(
        Check::Consecutive,
        "a reply with two messages exchanged",
        |model| alter(model, |_, _, reply| reply.swap(3, 4)),
    ),
    fault(Check::WindowFull, "a reply of nine messages", |model| {
        alter(model, |_, _, reply| drop(reply.remove(0)))
    }),
    fault(
        Check::SeqUnique,
        "a number given a second time",
        number_taken,
    ),
    fault(
        Check::OneContent,
        "a message shown with another text once",
        |model| alter(model, |_, _, reply| reply[5].text.push('!')),
    ),
    fault(
        Check::OneContent,
        "a message shown with another date once",
        |model| alter(model, |_, _, reply| reply[5].sent_at = sent_at(3_599_999)),
    ),
    fault(Check::StoredOnce, "a message stored twice", |model| {
        inserted(model, |model, place| model.log[place - 5].clone())
    }),
    fault(
        Check::NothingInvented,
        "a message that nobody sent",
        |model| {
            model.begin_alone(model.shape.unknown);
            inserted(model, |model, place| Message {
                text: "buy now".to_owned(),
                ..model.log[place - 5].clone()
            })
        },
    ),
    fault(
        Check::NothingInvented,
        "a message under a user who did not send it",
        |model| {
            model.begin_alone(model.shape.unknown);
            other_user(model, |request| {
                matches!(request.outcome, Outcome::Unknown(_))
            })
        },
    ),
    fault(
        Check::FailedAbsent,
        "a refused message that is stored",
        |model| {
            with_middle(model, |model, request, _| {
                model.requests[request].outcome = Outcome::Failed(Reason::Status(422));
            })
        },
    ),
    fault(
        Check::NothingLost,
        "an answered message whose number another one gets",
        |model| lost(model, Model::remove),
    ),
    fault(
        Check::NothingLost,
        "an answered message that all others skip",
        |model| lost(model, |model, place| model.hidden.push(place)),
    ),
    fault(Check::NoHole, "a number that does not exist", |model| {
        with_middle(model, |model, _, place| nobody(model, place))
    }),
    fault(
        Check::NoHole,
        "more numbers unseen than requests of unknown outcome",
        |model| {
            unseen(model, |model, block| {
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
            unseen(model, |model, block| {
                sent_last(model);
                nobody(model, block.start);
            })
        },
    ),
    fault(
        Check::NoHole,
        "an unseen number for which no user was counted up",
        |model| {
            unseen(model, |model, block| {
                never_stored(model, block.start);
                nobody(model, block.start);
            })
        },
    ),
    fault(Check::UserSeq, "a user counted up by two", counted_twice),
    fault(
        Check::Counters,
        "a user counted up too often where nobody saw it",
        |model| unseen(model, |model, block| count_up(model, block.start)),
    ),
    fault(
        Check::Counters,
        "users counted up more often than numbers are unseen",
        |model| {
            unseen(model, |model, block| {
                never_stored(model, block.start);
                count_up(model, block.start);
            })
        },
    ),
    fault(Check::SentAt, "a date before the one before", |model| {
        with_middle(model, |model, _, place| {
            model.log[place].sent_at = sent_at(0);
        })
    }),
    fault(
        Check::RealTime,
        "a message before one that was answered earlier",
        overtaken,
    ),
    fault(
        Check::RealTime,
        "a message of unknown outcome before it was sent",
        unknown_too_early,
    ),
    fault(
        Check::CoroutineOrder,
        "a coroutine's messages exchanged, the clock standing still",
        own_order,
    ),
    fault(Check::Page, "pages without the last messages", page_stale),
    fault(Check::Page, "pages that skip a message", |model| {
        page_changed(model, |page, at| drop(page.remove(at)))
    }),
    fault(
        Check::Page,
        "a message with another text on the pages",
        |model| page_changed(model, |page, at| page[at].text.push('!')),
    ),
];
