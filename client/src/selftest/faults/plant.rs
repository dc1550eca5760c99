//! Plants the faults. Every function returns false if the history has no place for its fault.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::history::{Outcome, Reason, WINDOW};
use crate::selftest::model::{Message, Model, Request};

/// Picks a random answered request whose message stands well inside the log, with room on both sides.
pub(super) fn middle(model: &Model, random: &mut ChaCha8Rng) -> Option<(usize, usize)> {
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

pub(super) fn with_middle(
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
pub(super) fn alter(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&Model, usize, &mut Vec<Message>),
) -> bool {
    with_middle(model, random, |model, request, place| {
        let mut reply = model.last(place);
        change(model, place, &mut reply);
        model.requests[request].reply = Some(reply);
    })
}

/// Puts another message into the log.
pub(super) fn inserted(
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
    is_shown(model, place)
}

/// Stores a message under another user, everywhere.
pub(super) fn other_user(
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

/// Gives a request a number that others had been shown as another message before it was sent.
pub(super) fn number_taken(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
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
    let mut reply = model.last(taken);
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

/// Loses a message that only its own reply knows.
pub(super) fn lost(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    lose: impl FnOnce(&mut Model, usize),
) -> bool {
    let Some((request, place)) = middle(model, random) else {
        return false;
    };
    model.requests[request].reply = Some(model.last(place));
    lose(model, place);
    // One reply against one would be a number given twice.
    showing(model, place) > 1
}

/// Makes the number at this place belong to nobody.
pub(super) fn nobody(model: &mut Model, place: usize) {
    let nobody = Message {
        user: "nobody".to_owned(),
        ..model.log[place].clone()
    };
    model.insert(place, nobody);
    model.hidden.push(place);
}

/// Adds a request of unknown outcome by the user of the message at this place, which is sent before all others and not
/// stored.
pub(super) fn never_stored(model: &mut Model, place: usize) {
    let mut requests = model.requests.iter();
    let author = requests.find(|request| request.place == Some(place));
    let request = author.map(|author| Request {
        coroutine: u32::MAX,
        text: "never stored".to_owned(),
        start: 0,
        end: 1,
        place: None,
        ..author.clone()
    });
    model.requests.extend(request);
}

/// Adds a request of unknown outcome by a user who sends nothing else, which is sent after all others.
pub(super) fn sent_last(model: &mut Model) {
    let last = model.requests.iter().max_by_key(|request| request.end);
    let request = last.map(|last| Request {
        user: usize::MAX,
        coroutine: u32::MAX,
        text: "sent last".to_owned(),
        start: last.end + 1,
        end: last.end + 2,
        outcome: Outcome::Unknown(Reason::Closed),
        place: None,
        ..last.clone()
    });
    model.requests.extend(request);
}

/// Makes a stretch of the log that no reply shows, and breaks something in it.
pub(super) fn unseen(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&mut Model, Range<usize>),
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
    let is_mixed = model.log[unseen.clone()]
        .iter()
        .any(|message| message.user != *user);
    // Each user's numbers before and after tell how many of the unseen messages are his.
    let is_counted = model.log[unseen.clone()].iter().all(|message| {
        is_counted_before(model, place, &message.user)
            && is_any_shown(model, stretch.end..model.log.len(), &message.user)
    });
    if !is_mixed || !is_counted {
        return false;
    }
    change(model, unseen);
    true
}

/// Returns whether replies tell how many messages the user had before this place. If none of them is shown, there were
/// none only if all that there were are shown.
fn is_counted_before(model: &Model, place: usize, user: &str) -> bool {
    is_shown(model, 0) || is_any_shown(model, 0..place, user)
}

fn is_any_shown(model: &Model, mut places: Range<usize>, user: &str) -> bool {
    places.any(|place| model.log[place].user == user && is_shown(model, place))
}

fn is_shown(model: &Model, place: usize) -> bool {
    showing(model, place) > 0
}

/// Returns how many replies show the message at this place.
fn showing(model: &Model, place: usize) -> usize {
    let last = place..place + WINDOW;
    let is_in_reply = |request: &&Request| {
        request.outcome == Outcome::Ok && request.place.is_some_and(|place| last.contains(&place))
    };
    model.requests.iter().filter(is_in_reply).count()
}

/// Counts the user of an answered message up by two.
pub(super) fn counted_twice(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
    let Some((_, place)) = middle(model, random) else {
        return false;
    };
    if !is_counted_before(model, place, &model.log[place].user) {
        return false;
    }
    count_up(model, place);
    true
}

/// Counts the user at this place up by one more from there on.
pub(super) fn count_up(model: &mut Model, place: usize) {
    let user = model.log[place].user.clone();
    for message in model.log[place..]
        .iter_mut()
        .filter(|message| message.user == user)
    {
        message.user_seq += 1;
    }
}

pub(super) fn overtaken(model: &mut Model, random: &mut ChaCha8Rng) -> bool {
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

/// Moves a request of unknown outcome in the log before one that was answered before it was sent.
pub(super) fn unknown_too_early(model: &mut Model) -> bool {
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

/// Exchanges two neighbours in the log and in their coroutine, without a tick of the clock between them.
pub(super) fn own_order(model: &mut Model) -> bool {
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

/// Lets the pages end where the log ended some replies before its end.
pub(super) fn page_stale(model: &mut Model) -> bool {
    let Some(end) = model.log.len().checked_sub(2 * WINDOW) else {
        return false;
    };
    let is_missing = |place: usize| place >= end && is_shown(model, place);
    let answered = model
        .requests
        .iter()
        .filter(|request| request.outcome == Outcome::Ok);
    if !answered.filter_map(|request| request.place).any(is_missing) {
        return false;
    }
    let mut page = model.last_page();
    page.truncate(page.len().saturating_sub(2 * WINDOW));
    model.page = Some(page);
    true
}

/// Changes the pages at a message that replies show.
pub(super) fn page_changed(
    model: &mut Model,
    random: &mut ChaCha8Rng,
    change: impl FnOnce(&mut Vec<Message>, usize),
) -> bool {
    let Some((_, place)) = middle(model, random) else {
        return false;
    };
    let mut page = model.last_page();
    let seq = model.log[place].seq;
    // Not the first one: without it, nothing is skipped.
    let Some(at) = page.iter().skip(1).position(|message| message.seq == seq) else {
        return false;
    };
    change(&mut page, at + 1);
    model.page = Some(page);
    true
}
