//! One fault of each kind, planted in a valid history.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::model::{Message, Model, Request, Shape, sent_at};
use crate::history::{Outcome, Reason, WINDOW};
use crate::verify::Check;

/// A way to break a promise. Some promises can be broken in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Eleven,
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
    CountedTwice,
    CountedUnseen,
    DateBack,
    Overtaken,
    UnknownTooEarly,
    OwnOrder,
}

impl Fault {
    pub(crate) const ALL: [Self; 24] = [
        Self::Eleven,
        Self::AnotherReply,
        Self::OtherUser,
        Self::NewerShown,
        Self::Skipped,
        Self::Disordered,
        Self::Short,
        Self::NumberTaken,
        Self::OtherContent,
        Self::OtherDate,
        Self::StoredTwice,
        Self::Invented,
        Self::UnknownUnderOtherUser,
        Self::RefusedStored,
        Self::LostReused,
        Self::LostSkipped,
        Self::Hole,
        Self::HoleTooWide,
        Self::CountedTwice,
        Self::CountedUnseen,
        Self::DateBack,
        Self::Overtaken,
        Self::UnknownTooEarly,
        Self::OwnOrder,
    ];

    /// The name under which it must be found.
    pub(crate) fn check(self) -> Check {
        self.row().0
    }

    pub(crate) fn meaning(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (Check, &'static str) {
        match self {
            Self::Eleven => (Check::WellFormed, "a reply of eleven messages"),
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
            Self::CountedTwice => (Check::UserSeq, "a user counted up by two"),
            Self::CountedUnseen => (
                Check::Counters,
                "a user counted up too often where nobody saw it",
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
        }
    }

    /// What the history must be like for this fault to be the only one.
    pub(crate) fn shape(self, shape: Shape) -> Shape {
        match self {
            // Nobody may stand ready to be blamed for what is unseen.
            Self::HoleTooWide | Self::CountedUnseen => Shape {
                unknown: 0,
                others: 0,
                ..shape
            },
            Self::Invented | Self::UnknownUnderOtherUser => Shape { others: 0, ..shape },
            _ => shape,
        }
    }

    /// Plants it somewhere; false if the history has no place for it.
    pub(crate) fn plant(self, model: &mut Model, random: &mut ChaCha8Rng) -> bool {
        match self {
            Self::Eleven => alter(model, random, |model, place, reply| {
                reply.insert(0, model.log[place - WINDOW].clone());
            }),
            Self::AnotherReply => alter(model, random, |model, place, reply| {
                *reply = model.window(place - 1);
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
            Self::Hole => hole(model, random),
            Self::HoleTooWide => unseen(model, random, |model, block| {
                for request in &mut model.requests {
                    if request.place.is_some_and(|place| block.contains(&place)) {
                        request.outcome = Outcome::Failed(Reason::Status(503));
                        request.place = None;
                    }
                }
            }),
            Self::CountedTwice => {
                with_middle(model, random, |model, _, place| count_up(model, place))
            }
            Self::CountedUnseen => {
                unseen(model, random, |model, block| count_up(model, block.start))
            }
            Self::DateBack => with_middle(model, random, |model, _, place| {
                model.log[place].sent_at = sent_at(0);
            }),
            Self::Overtaken => overtaken(model, random),
            Self::UnknownTooEarly => unknown_too_early(model),
            Self::OwnOrder => own_order(model),
        }
    }
}

/// A random answered request whose message stands well inside the log, with room on both sides.
fn middle(model: &Model, random: &mut ChaCha8Rng) -> Option<(usize, usize)> {
    let room = 2 * WINDOW..model.log.len().saturating_sub(2 * WINDOW);
    let candidates: Vec<(usize, usize)> = model
        .requests
        .iter()
        .enumerate()
        .filter(|(_, request)| request.outcome == Outcome::Ok)
        .filter_map(|(index, request)| {
            Some((index, request.place.filter(|place| room.contains(place))?))
        })
        .collect();
    (!candidates.is_empty()).then(|| candidates[random.random_range(0..candidates.len())])
}

fn with_middle(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&mut Model, usize, usize),
) -> bool {
    let Some((request, place)) = middle(model, random) else {
        return false;
    };
    change(model, request, place);
    true
}

/// Changes one reply.
fn alter(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&Model, usize, &mut Vec<Message>),
) -> bool {
    with_middle(model, random, |model, request, place| {
        let mut reply = model.window(place);
        change(model, place, &mut reply);
        model.requests[request].reply = Some(reply);
    })
}

/// Puts another message into the log.
fn inserted(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    message: impl FnOnce(&Model, usize) -> Message,
) -> bool {
    // A copy of one of our own: any other may be there as often as it likes.
    let Some((_, place)) = middle(model, random) else {
        return false;
    };
    let place = place + 5;
    let message = message(model, place);
    model.insert(place, message);
    true
}

/// The server stores a message under another user, everywhere.
fn other_user(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    is_victim: impl Fn(&Request) -> bool,
) -> bool {
    let victims: Vec<usize> = model
        .requests
        .iter()
        .filter(|request| is_victim(request))
        .filter_map(|request| request.place)
        .filter(|place| (WINDOW..model.log.len().saturating_sub(2 * WINDOW)).contains(place))
        .collect();
    if victims.is_empty() {
        return false;
    }
    let place = victims[random.random_range(0..victims.len())];
    let other = model
        .log
        .iter()
        .map(|message| &message.user)
        .find(|user| **user != model.log[place].user);
    let Some(other) = other.cloned() else {
        return false;
    };
    model.log[place].user = other;
    model.number();
    true
}

/// A request gets a number that others had been shown as another message before it was sent.
fn number_taken(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
    let Some((request, place)) = middle(model, random) else {
        return false;
    };
    let start = model.requests[request].start;
    let earlier = model
        .requests
        .iter()
        .filter(|other| other.outcome == Outcome::Ok && other.end < start);
    let Some(taken) = earlier
        .filter_map(|other| other.place)
        .filter(|place| *place > WINDOW)
        .max()
    else {
        return false;
    };
    let mut reply = model.window(taken);
    if let Some(last) = reply.last_mut() {
        let own = model.log[place].clone();
        *last = Message {
            seq: last.seq,
            ..own
        };
    }
    model.remove(place);
    model.requests[request].reply = Some(reply);
    true
}

/// Only its own reply knows the message.
fn lost(model: &mut Model, random: &mut ChaCha8Rng, lose: impl FnOnce(&mut Model, usize)) -> bool {
    with_middle(model, random, |model, request, place| {
        model.requests[request].reply = Some(model.window(place));
        lose(model, place);
    })
}

/// A number between two messages that belongs to nobody.
fn hole(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
    let Some((_, place)) = middle(model, random) else {
        return false;
    };
    let nobody = Message {
        user: "nobody".to_owned(),
        ..model.log[place].clone()
    };
    model.insert(place, nobody);
    model.hidden.push(place);
    true
}

/// Makes a stretch of the log that no reply shows, and breaks something in it.
fn unseen(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&mut Model, std::ops::Range<usize>),
) -> bool {
    let Some((_, place)) = middle(model, random) else {
        return false;
    };
    // Those after it show the last nine of the stretch.
    let stretch = place..place + 2 * WINDOW;
    if stretch.end + WINDOW > model.log.len() {
        return false;
    }
    for request in &mut model.requests {
        if request.place.is_some_and(|place| stretch.contains(&place)) {
            request.outcome = Outcome::Unknown(Reason::Closed);
        }
    }
    let unseen = place..stretch.end + 1 - WINDOW;
    let user = &model.log[place].user;
    let goes_on = model.log[stretch.end..]
        .iter()
        .any(|message| message.user == *user);
    let is_mixed = model.log[unseen.clone()]
        .iter()
        .any(|message| message.user != *user);
    if !goes_on || !is_mixed {
        return false;
    }
    change(model, unseen);
    true
}

/// From this place on, the user's numbers are greater by one.
fn count_up(model: &mut Model, place: usize) {
    let user = model.log[place].user.clone();
    for message in model.log[place..]
        .iter_mut()
        .filter(|message| message.user == user)
    {
        message.user_seq += 1;
    }
}

fn overtaken(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
    let Some((request, from)) = middle(model, random) else {
        return false;
    };
    let (start, coroutine) = (
        model.requests[request].start,
        model.requests[request].coroutine,
    );
    let answered = model.requests.iter().filter(|other| {
        other.outcome == Outcome::Ok && other.end < start && other.coroutine != coroutine
    });
    let Some(to) = answered.filter_map(|other| other.place).max() else {
        return false;
    };
    model.bring_forward(from, to);
    true
}

/// A request of unknown outcome stands in the log before one that was answered before it was sent.
fn unknown_too_early(model: &mut Model) -> bool {
    let pair = model
        .requests
        .iter()
        .filter(|request| matches!(request.outcome, Outcome::Unknown(_)))
        .find_map(|late| {
            let from = late.place?;
            let answered = model
                .requests
                .iter()
                .filter(|other| other.outcome == Outcome::Ok && other.end < late.start);
            // Shown after all: at its old place it was, and one place in front of the answered one it is too.
            Some((
                from,
                answered
                    .filter_map(|other| other.place)
                    .filter(|to| *to + WINDOW < model.log.len())
                    .max()?,
            ))
        });
    let Some((from, to)) = pair else { return false };
    model.bring_forward(from, to);
    true
}

/// Two neighbours in the log and in their coroutine, exchanged, without a tick of the clock between them.
fn own_order(model: &mut Model) -> bool {
    let pair = model.requests.windows(2).position(|pair| {
        let ok = pair.iter().all(|request| request.outcome == Outcome::Ok);
        let neighbours = pair[0].place.map(|place| place + 1) == pair[1].place;
        ok && neighbours && pair[0].coroutine == pair[1].coroutine
    });
    let Some(first) = pair else { return false };
    let Some(place) = model.requests[first].place else {
        return false;
    };
    model.requests[first + 1].start = model.requests[first].end;
    model.bring_forward(place + 1, place);
    true
}
