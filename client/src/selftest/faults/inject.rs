//! Injects the faults. A function returns none if the history has no place for its fault.

use std::ops::Range;

use rand::seq::IndexedRandom;

use crate::history::{Outcome, Reason, WINDOW};
use crate::selftest::model::{Message, Model, Request};

/// Picks a random answered request whose message has at least twenty others on both sides in the log. Returns the request's
/// index, and the place of its message.
pub(super) fn pick_inner_request(model: &mut Model) -> Option<(usize, usize)> {
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

/// Changes the model at a random inner request.
pub(super) fn with_inner_request(
    model: &mut Model,
    change: impl FnOnce(&mut Model, usize, usize),
) -> Option<()> {
    let (request, place) = pick_inner_request(model)?;
    change(model, request, place);
    Some(())
}

/// Changes the reply of a random inner request.
pub(super) fn change_reply(
    model: &mut Model,
    change: impl FnOnce(&Model, usize, &mut Vec<Message>),
) -> Option<()> {
    with_inner_request(model, |model, request, place| {
        let mut reply = model.window_at(place);
        change(model, place, &mut reply);
        model.requests[request].reply = Some(reply);
    })
}

/// Inserts another message into the log.
pub(super) fn insert_message(
    model: &mut Model,
    message: impl FnOnce(&Model, usize) -> Message,
) -> Option<()> {
    // Callers copy the message five places before, so it is one of this run's. A copy of another's would not be a fault.
    let (_, place) = pick_inner_request(model)?;
    let place = place + 5;
    let message = message(model, place);
    model.insert(place, message);
    is_shown(model, place).then_some(())
}

/// Changes the user of a message in the log, so in all replies.
pub(super) fn change_user(model: &mut Model, is_victim: impl Fn(&Request) -> bool) -> Option<()> {
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
    model.renumber();
    Some(())
}

/// Gives a request a number at which replies had shown another message before the request was sent.
pub(super) fn reuse_number(model: &mut Model) -> Option<()> {
    let (request, place) = pick_inner_request(model)?;
    let start = model.requests[request].start;
    let earlier = model
        .requests
        .iter()
        .filter(|other| other.outcome == Outcome::Ok && other.end < start);
    let taken = earlier
        .filter_map(|other| other.place)
        .filter(|place| *place > WINDOW)
        .max()?;
    let mut reply = model.window_at(taken);
    let last = reply.last_mut()?;
    *last = Message {
        seq: last.seq,
        ..model.log[place].clone()
    };
    model.remove(place);
    model.requests[request].reply = Some(reply);
    Some(())
}

/// Loses a message that only its own reply shows.
pub(super) fn lose_message(model: &mut Model, lose: impl FnOnce(&mut Model, usize)) -> Option<()> {
    let (request, place) = pick_inner_request(model)?;
    model.requests[request].reply = Some(model.window_at(place));
    lose(model, place);
    // If only one reply showed another message, the fault would be a number given twice.
    (showing(model, place) > 1).then_some(())
}

/// Inserts a number at this place that belongs to no request and that no reply shows.
pub(super) fn insert_hidden(model: &mut Model, place: usize) {
    let nobody = Message {
        user: "nobody".to_owned(),
        ..model.log[place].clone()
    };
    model.insert(place, nobody);
    model.hidden.push(place);
}

/// Adds a request of unknown outcome by the user of the message at this place, which is sent before all others and not
/// stored.
pub(super) fn add_unstored_request(model: &mut Model, place: usize) {
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
pub(super) fn add_late_request(model: &mut Model) {
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

/// Makes a block of the log unseen by removing replies, and injects a fault there.
pub(super) fn with_unseen_block(
    model: &mut Model,
    change: impl FnOnce(&mut Model, Range<usize>),
) -> Option<()> {
    // No other request may have an unknown outcome, because its message could be one of the unseen ones.
    model.regenerate_unshared(0);
    let (_, place) = pick_inner_request(model)?;
    // The replies after the block show its last nine messages.
    let block = place..place + 2 * WINDOW;
    if block.end + WINDOW > model.log.len() {
        return None;
    }
    for request in &mut model.requests {
        if request.place.is_some_and(|place| block.contains(&place)) {
            request.outcome = Outcome::Unknown(Reason::Closed);
        }
    }
    let unseen = place..block.end + 1 - WINDOW;
    let user = &model.log[place].user;
    let is_mixed = model.log[unseen.clone()]
        .iter()
        .any(|message| message.user != *user);
    // The numbers of each user before and after the block must prove how many of the unseen messages are of this user.
    let is_counted = model.log[unseen.clone()].iter().all(|message| {
        is_counted_before(model, place, &message.user)
            && is_any_shown(model, block.end..model.log.len(), &message.user)
    });
    (is_mixed && is_counted).then(|| change(model, unseen))
}

/// Returns whether replies prove how many messages the user had before this place: they show one of these, or the first message
/// of the log.
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

/// Skips one number of a user at an answered message.
pub(super) fn skip_user_seq(model: &mut Model) -> Option<()> {
    let (_, place) = pick_inner_request(model)?;
    is_counted_before(model, place, &model.log[place].user)
        .then(|| increment_user_seq(model, place))
}

/// Increments the numbers of the user at this place, from there on.
pub(super) fn increment_user_seq(model: &mut Model, place: usize) {
    let user = model.log[place].user.clone();
    let after = model.log[place..].iter_mut();
    for message in after.filter(|message| message.user == user) {
        message.user_seq += 1;
    }
}

/// Moves an answered message before one that was answered before its request was sent.
pub(super) fn reorder_answered(model: &mut Model) -> Option<()> {
    let (request, from) = pick_inner_request(model)?;
    let late = &model.requests[request];
    let answered = model.requests.iter().filter(|other| {
        other.outcome == Outcome::Ok && other.end < late.start && other.coroutine != late.coroutine
    });
    let to = answered.filter_map(|other| other.place).max()?;
    model.bring_forward(from, to);
    Some(())
}

/// Moves a request of unknown outcome in the log before one that was answered before it was sent.
pub(super) fn reorder_unknown(model: &mut Model) -> Option<()> {
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
            // At its new place the message is shown by the reply of the answered one right after it.
            let places = answered.filter_map(|other| other.place);
            let to = places.filter(|to| *to + WINDOW < model.log.len()).max()?;
            Some((from, to))
        })?;
    model.bring_forward(from, to);
    Some(())
}

/// Swaps two messages that are adjacent in the log and in their coroutine. The second is sent at the instant of the first answer.
pub(super) fn swap_in_coroutine(model: &mut Model) -> Option<()> {
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

/// Removes the last messages from the pages.
pub(super) fn truncate_page(model: &mut Model) -> Option<()> {
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
    model.set_page(page);
    Some(())
}

/// Changes the pages at a message that replies show as well.
pub(super) fn change_page(
    model: &mut Model,
    change: impl FnOnce(&mut Vec<Message>, usize),
) -> Option<()> {
    let (_, place) = pick_inner_request(model)?;
    let mut page = model.last_page();
    let seq = model.log[place].seq;
    // Not the first message of a page: removing it skips nothing.
    let at = page.iter().skip(1).position(|message| message.seq == seq)?;
    change(&mut page, at + 1);
    model.set_page(page);
    Some(())
}
