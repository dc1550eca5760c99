//! Plants the faults. Every function returns none if the history has no place for its fault.

use std::ops::Range;

use rand::seq::IndexedRandom;

use crate::history::{Outcome, Reason, WINDOW};
use crate::selftest::model::{Message, Model, Request};

/// Picks a random answered request whose message stands well inside the log, with room on both sides.
pub(super) fn middle(model: &mut Model) -> Option<(usize, usize)> {
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
    candidates.choose(&mut model.random).copied()
}

pub(super) fn with_middle(
    model: &mut Model,
    change: impl FnOnce(&mut Model, usize, usize),
) -> Option<()> {
    let (request, place) = middle(model)?;
    change(model, request, place);
    Some(())
}

/// Changes one reply.
pub(super) fn alter(
    model: &mut Model,
    change: impl FnOnce(&Model, usize, &mut Vec<Message>),
) -> Option<()> {
    with_middle(model, |model, request, place| {
        let mut reply = model.last(place);
        change(model, place, &mut reply);
        model.requests[request].reply = Some(reply);
    })
}

/// Puts another message into the log.
pub(super) fn inserted(
    model: &mut Model,
    message: impl FnOnce(&Model, usize) -> Message,
) -> Option<()> {
    // A copy of one of our own: any other may be there as often as it likes.
    let (_, place) = middle(model)?;
    let place = place + 5;
    let message = message(model, place);
    model.insert(place, message);
    is_shown(model, place).then_some(())
}

/// Stores a message under another user, everywhere.
pub(super) fn other_user(model: &mut Model, is_victim: impl Fn(&Request) -> bool) -> Option<()> {
    let victims: Vec<usize> = model
        .requests
        .iter()
        .filter(|request| is_victim(request))
        .filter_map(|request| request.place)
        .filter(|place| (WINDOW..model.log.len().saturating_sub(2 * WINDOW)).contains(place))
        .collect();
    let place = *victims.choose(&mut model.random)?;
    let mut users = model.log.iter().map(|message| &message.user);
    let other = users.find(|user| **user != model.log[place].user)?.clone();
    model.log[place].user = other;
    model.number();
    Some(())
}

/// Gives a request a number that others had been shown as another message before it was sent.
pub(super) fn number_taken(model: &mut Model) -> Option<()> {
    let (request, place) = middle(model)?;
    let start = model.requests[request].start;
    let earlier = model
        .requests
        .iter()
        .filter(|other| other.outcome == Outcome::Ok && other.end < start);
    let taken = earlier
        .filter_map(|other| other.place)
        .filter(|place| *place > WINDOW)
        .max()?;
    let mut reply = model.last(taken);
    let last = reply.last_mut()?;
    *last = Message {
        seq: last.seq,
        ..model.log[place].clone()
    };
    model.remove(place);
    model.requests[request].reply = Some(reply);
    Some(())
}

/// Loses a message that only its own reply knows.
pub(super) fn lost(model: &mut Model, lose: impl FnOnce(&mut Model, usize)) -> Option<()> {
    let (request, place) = middle(model)?;
    model.requests[request].reply = Some(model.last(place));
    lose(model, place);
    // One reply against one would be a number given twice.
    (showing(model, place) > 1).then_some(())
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
    change: impl FnOnce(&mut Model, Range<usize>),
) -> Option<()> {
    // Nobody may stand ready to be blamed for what is unseen.
    model.begin_alone(0);
    let (_, place) = middle(model)?;
    // Those after it show the last nine of the stretch.
    let stretch = place..place + 2 * WINDOW;
    if stretch.end + WINDOW > model.log.len() {
        return None;
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
    (is_mixed && is_counted).then(|| change(model, unseen))
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
pub(super) fn counted_twice(model: &mut Model) -> Option<()> {
    let (_, place) = middle(model)?;
    is_counted_before(model, place, &model.log[place].user).then(|| count_up(model, place))
}

/// Counts the user at this place up by one more from there on.
pub(super) fn count_up(model: &mut Model, place: usize) {
    let user = model.log[place].user.clone();
    let after = model.log[place..].iter_mut();
    for message in after.filter(|message| message.user == user) {
        message.user_seq += 1;
    }
}

pub(super) fn overtaken(model: &mut Model) -> Option<()> {
    let (request, from) = middle(model)?;
    let late = &model.requests[request];
    let answered = model.requests.iter().filter(|other| {
        other.outcome == Outcome::Ok && other.end < late.start && other.coroutine != late.coroutine
    });
    let to = answered.filter_map(|other| other.place).max()?;
    model.bring_forward(from, to);
    Some(())
}

/// Moves a request of unknown outcome in the log before one that was answered before it was sent.
pub(super) fn unknown_too_early(model: &mut Model) -> Option<()> {
    let (from, to) = model
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
            let places = answered.filter_map(|other| other.place);
            let to = places.filter(|to| *to + WINDOW < model.log.len()).max()?;
            Some((from, to))
        })?;
    model.bring_forward(from, to);
    Some(())
}

/// Exchanges two neighbours in the log and in their coroutine, without a tick of the clock between them.
pub(super) fn own_order(model: &mut Model) -> Option<()> {
    let first = model.requests.windows(2).position(|pair| {
        let ok = pair.iter().all(|request| request.outcome == Outcome::Ok);
        let neighbours = pair[0].place.map(|place| place + 1) == pair[1].place;
        ok && neighbours && pair[0].coroutine == pair[1].coroutine
    })?;
    let place = model.requests[first].place?;
    model.requests[first + 1].start = model.requests[first].end;
    model.bring_forward(place + 1, place);
    Some(())
}

/// Lets the pages end where the log ended some replies before its end.
pub(super) fn page_stale(model: &mut Model) -> Option<()> {
    let end = model.log.len().checked_sub(2 * WINDOW)?;
    let is_missing = |place: usize| place >= end && is_shown(model, place);
    let answered = model
        .requests
        .iter()
        .filter(|request| request.outcome == Outcome::Ok);
    if !answered.filter_map(|request| request.place).any(is_missing) {
        return None;
    }
    let mut page = model.last_page();
    page.truncate(page.len().saturating_sub(2 * WINDOW));
    model.show_page(page);
    Some(())
}

/// Changes the pages at a message that replies show.
pub(super) fn page_changed(
    model: &mut Model,
    change: impl FnOnce(&mut Vec<Message>, usize),
) -> Option<()> {
    let (_, place) = middle(model)?;
    let mut page = model.last_page();
    let seq = model.log[place].seq;
    // Not the first one: without it, nothing is skipped.
    let at = page.iter().skip(1).position(|message| message.seq == seq)?;
    change(&mut page, at + 1);
    model.show_page(page);
    Some(())
}
