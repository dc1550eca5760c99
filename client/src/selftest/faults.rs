//! Plants one fault of each kind in a valid history.

mod plant;

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;

use self::plant::{
    alter, count_up, counted_twice, inserted, lost, never_stored, nobody, number_taken, other_user,
    overtaken, own_order, page_changed, page_stale, sent_last, unknown_too_early, unseen,
    with_middle,
};
use super::model::{Message, Model, Shape, sent_at};
use crate::history::{Outcome, Reason, WINDOW};
use crate::verify::Check;

/// A way to break a promise. Some promises can be broken in several.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Fault {
    Eleven,
    NoMessages,
    AnotherReply,
    OtherUser,
    NewerShown,
    Skipped,
    Disordered,
    Short,
    NumberTaken,
    OtherContent,
    OtherDate,
    StoredTwice,
    Invented,
    UnknownUnderOtherUser,
    RefusedStored,
    LostReused,
    LostSkipped,
    Hole,
    HoleTooWide,
    HoleBefore,
    HoleUncounted,
    CountedTwice,
    CountedUnseen,
    CountedWithoutNumber,
    DateBack,
    Overtaken,
    UnknownTooEarly,
    OwnOrder,
    PageStale,
    PageSkips,
    PageAltered,
}

impl Fault {
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Returns the check by which the fault must be found.
    pub(crate) fn check(self) -> Check {
        self.row().0
    }

    pub(crate) fn meaning(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (Check, &'static str) {
        match self {
            Self::Eleven => (Check::WellFormed, "a reply of eleven messages"),
            Self::NoMessages => (Check::WellFormed, "a 200 that is no JSON"),
            Self::AnotherReply => (Check::OwnMessage, "a reply meant for another request"),
            Self::OtherUser => (Check::OwnMessage, "the own message under another user"),
            Self::NewerShown => (Check::OwnLast, "a reply with one message too new"),
            Self::Skipped => (Check::Consecutive, "a reply that skips a message"),
            Self::Disordered => (Check::Consecutive, "a reply with two messages exchanged"),
            Self::Short => (Check::WindowFull, "a reply of nine messages"),
            Self::NumberTaken => (Check::SeqUnique, "a number given a second time"),
            Self::OtherContent => (Check::OneContent, "a message shown with another text once"),
            Self::OtherDate => (Check::OneContent, "a message shown with another date once"),
            Self::StoredTwice => (Check::StoredOnce, "a message stored twice"),
            Self::Invented => (Check::NothingInvented, "a message that nobody sent"),
            Self::UnknownUnderOtherUser => (
                Check::NothingInvented,
                "a message under a user who did not send it",
            ),
            Self::RefusedStored => (Check::FailedAbsent, "a refused message that is stored"),
            Self::LostReused => (
                Check::NothingLost,
                "an answered message whose number another one gets",
            ),
            Self::LostSkipped => (
                Check::NothingLost,
                "an answered message that all others skip",
            ),
            Self::Hole => (Check::NoHole, "a number that does not exist"),
            Self::HoleTooWide => (
                Check::NoHole,
                "more numbers unseen than requests of unknown outcome",
            ),
            Self::HoleBefore => (
                Check::NoHole,
                "an unseen number that only a later request could have",
            ),
            Self::HoleUncounted => (
                Check::NoHole,
                "an unseen number for which no user was counted up",
            ),
            Self::CountedTwice => (Check::UserSeq, "a user counted up by two"),
            Self::CountedUnseen => (
                Check::Counters,
                "a user counted up too often where nobody saw it",
            ),
            Self::CountedWithoutNumber => (
                Check::Counters,
                "users counted up more often than numbers are unseen",
            ),
            Self::DateBack => (Check::SentAt, "a date before the one before"),
            Self::Overtaken => (
                Check::RealTime,
                "a message before one that was answered earlier",
            ),
            Self::UnknownTooEarly => (
                Check::RealTime,
                "a message of unknown outcome before it was sent",
            ),
            Self::OwnOrder => (
                Check::CoroutineOrder,
                "a coroutine's messages exchanged, the clock standing still",
            ),
            Self::PageStale => (Check::Page, "pages without the last messages"),
            Self::PageSkips => (Check::Page, "pages that skip a message"),
            Self::PageAltered => (Check::Page, "a message with another text on the pages"),
        }
    }

    /// Returns the shape that a history must have for this fault to be the only one.
    pub(crate) fn shape(self, shape: Shape) -> Shape {
        match self {
            // Nobody may stand ready to be blamed for what is unseen.
            Self::HoleTooWide
            | Self::HoleBefore
            | Self::HoleUncounted
            | Self::CountedUnseen
            | Self::CountedWithoutNumber => Shape {
                unknown: 0,
                others: 0,
                ..shape
            },
            Self::Invented | Self::UnknownUnderOtherUser => Shape { others: 0, ..shape },
            Self::PageStale | Self::PageSkips | Self::PageAltered => Shape {
                pages: true,
                ..shape
            },
            _ => shape,
        }
    }

    /// Plants the fault somewhere; returns false if the history has no place for it.
    pub(crate) fn plant(self, model: &mut Model, random: &mut ChaCha8Rng) -> bool {
        match self {
            Self::Eleven => alter(model, random, |model, place, reply| {
                reply.insert(0, model.log[place - WINDOW].clone());
            }),
            Self::NoMessages => with_middle(model, random, |model, request, _| {
                model.requests[request].outcome = Outcome::Unknown(Reason::Unreadable);
            }),
            Self::AnotherReply => alter(model, random, |model, place, reply| {
                *reply = model.last(place - 1);
            }),
            Self::OtherUser => other_user(model, random, |request| request.outcome == Outcome::Ok),
            Self::NewerShown => alter(model, random, |model, place, reply| {
                reply.remove(0);
                reply.push(model.log[place + 1].clone());
            }),
            Self::Skipped => alter(model, random, |_, _, reply| drop(reply.remove(4))),
            Self::Disordered => alter(model, random, |_, _, reply| reply.swap(3, 4)),
            Self::Short => alter(model, random, |_, _, reply| drop(reply.remove(0))),
            Self::NumberTaken => number_taken(model, random),
            Self::OtherContent => alter(model, random, |_, _, reply| reply[5].text.push('!')),
            Self::OtherDate => alter(model, random, |_, _, reply| {
                reply[5].sent_at = sent_at(3_599_999);
            }),
            Self::StoredTwice => {
                inserted(model, random, |model, place| model.log[place - 5].clone())
            }
            Self::Invented => inserted(model, random, |model, place| Message {
                text: "buy now".to_owned(),
                ..model.log[place - 5].clone()
            }),
            Self::UnknownUnderOtherUser => other_user(model, random, |request| {
                matches!(request.outcome, Outcome::Unknown(_))
            }),
            Self::RefusedStored => with_middle(model, random, |model, request, _| {
                model.requests[request].outcome = Outcome::Failed(Reason::Status(422));
            }),
            Self::LostReused => lost(model, random, Model::remove),
            Self::LostSkipped => lost(model, random, |model, place| model.hidden.push(place)),
            Self::Hole => with_middle(model, random, |model, _, place| nobody(model, place)),
            Self::HoleTooWide => unseen(model, random, |model, block| {
                for request in &mut model.requests {
                    if request.place.is_some_and(|place| block.contains(&place)) {
                        request.outcome = Outcome::Failed(Reason::Status(503));
                        request.place = None;
                    }
                }
            }),
            Self::HoleBefore => unseen(model, random, |model, block| {
                sent_last(model);
                nobody(model, block.start);
            }),
            Self::HoleUncounted => unseen(model, random, |model, block| {
                never_stored(model, block.start);
                nobody(model, block.start);
            }),
            Self::CountedTwice => counted_twice(model, random),
            Self::CountedUnseen => {
                unseen(model, random, |model, block| count_up(model, block.start))
            }
            Self::CountedWithoutNumber => unseen(model, random, |model, block| {
                never_stored(model, block.start);
                count_up(model, block.start);
            }),
            Self::DateBack => with_middle(model, random, |model, _, place| {
                model.log[place].sent_at = sent_at(0);
            }),
            Self::Overtaken => overtaken(model, random),
            Self::UnknownTooEarly => unknown_too_early(model),
            Self::OwnOrder => own_order(model),
            Self::PageStale => page_stale(model),
            Self::PageSkips => page_changed(model, random, |page, at| drop(page.remove(at))),
            Self::PageAltered => page_changed(model, random, |page, at| page[at].text.push('!')),
        }
    }
}
