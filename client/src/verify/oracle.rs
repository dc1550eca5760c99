//! Tests the judge against an oracle: a search through every order in which a few requests could have taken effect. The oracle
//! does not use the checks; it only searches for an order that explains all replies. Judge and oracle must agree.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Verdict;
use crate::history::{Outcome, Reason};
use crate::selftest::{Message, Model, Request, Shape, verdict};

/// Returns whether there is an order of effects, consistent with real time, that yields the reply of each answered request.
fn is_linearizable(model: &Model) -> bool {
    let pending: Vec<&Request> = model
        .requests
        .iter()
        .filter(|request| !matches!(request.outcome, Outcome::Failed(_)))
        .collect();
    search(model, &pending, &mut Vec::new(), &BTreeMap::new())
}

fn search<'a>(
    model: &Model,
    pending: &[&'a Request],
    log: &mut Vec<&'a Request>,
    dates: &BTreeMap<u64, String>,
) -> bool {
    if pending.iter().all(|request| request.outcome != Outcome::Ok) {
        return dates.values().is_sorted();
    }
    for (index, request) in pending.iter().enumerate() {
        let must_come_first = |other: &&Request| {
            let earlier = other.coroutine == request.coroutine && other.number < request.number;
            other.outcome == Outcome::Ok && (other.end < request.start || earlier)
        };
        if pending.iter().any(must_come_first) {
            continue;
        }
        let mut remaining = pending.to_vec();
        remaining.remove(index);
        log.push(request);
        if explains(model, log, dates).is_some_and(|dates| search(model, &remaining, log, &dates)) {
            return true;
        }
        log.pop();
    }
    false
}

/// Returns the dates known after the last request's reply, if this log yields that reply; else none.
fn explains(
    model: &Model,
    log: &[&Request],
    dates: &BTreeMap<u64, String>,
) -> Option<BTreeMap<u64, String>> {
    let mut dates = dates.clone();
    let Some(reply) = log.last().and_then(|last| model.reply(last)) else {
        return Some(dates);
    };
    let first = log.len().saturating_sub(model.shape.window);
    if reply.len() != log.len() - first {
        return None;
    }
    for (message, place) in reply.iter().zip(first..) {
        let author = log[place];
        let user_seq = log[..=place]
            .iter()
            .filter(|request| request.user == author.user)
            .count();
        let Message {
            seq,
            user,
            user_seq: shown,
            text,
            sent_at,
        } = message;
        let is_expected = *seq == place as u64 + 1
            && *user == format!("user{}", author.user)
            && *shown == user_seq as u64
            && *text == author.text;
        let date = dates.entry(*seq).or_insert_with(|| sent_at.clone());
        if !is_expected || date != sent_at {
            return None;
        }
    }
    Some(dates)
}

/// Makes a random change to a small history, or none.
fn corrupt(model: &mut Model) {
    let (requests, log) = (model.requests.len(), model.log.len());
    let one = model.random.random_range(0..requests);
    match model.random.random_range(0..10) {
        0..3 => {}
        3 if log > 1 => {
            let from = model.random.random_range(1..log);
            let to = model.random.random_range(0..from);
            model.bring_forward(from, to);
        }
        4 => {
            let start = model.random.random_range(0..200);
            model.requests[one].start = start;
            model.requests[one].end = start + model.random.random_range(0..40);
        }
        5 => model.requests[one].outcome = Outcome::Failed(Reason::Status(503)),
        6 if log > 1 => {
            let place = model.random.random_range(0..log);
            for request in model
                .requests
                .iter_mut()
                .filter(|request| request.outcome == Outcome::Ok)
            {
                let reply = request.place.filter(|own| *own == place);
                let first = |own: usize| (own + 1).saturating_sub(model.shape.window);
                request.reply = reply.map(|own| model.log[first(own)..=own].to_vec());
            }
            model.remove(place);
        }
        _ => {
            let other = model.requests[model.random.random_range(0..requests)]
                .text
                .clone();
            let Some(mut reply) = model.reply(&model.requests[one]) else {
                return;
            };
            if !reply.is_empty() {
                let at = model.random.random_range(0..reply.len());
                corrupt_reply(&mut reply, at, other, &mut model.random);
            }
            model.requests[one].reply = Some(reply);
        }
    }
}

/// Makes a random change to a reply.
fn corrupt_reply(reply: &mut Vec<Message>, at: usize, other: String, random: &mut ChaCha8Rng) {
    match random.random_range(0..9) {
        0 => reply[at].seq += 1,
        1 => reply[at].seq -= 1,
        2 => reply[at].user_seq += 1,
        3 => reply[at].user_seq -= 1,
        4 => reply[at].text = other,
        5 => "user0".clone_into(&mut reply[at].user),
        6 => "2026-11-20T15:00:00.010000Z".clone_into(&mut reply[at].sent_at),
        7 => drop(reply.remove(at)),
        _ => {
            let again = reply[at].clone();
            reply.insert(at, again);
        }
    }
}

/// Asserts that judge and oracle agree on one history for each seed; returns how many of these are valid, and how many invalid.
fn assert_agreement(seeds: Range<u64>, shape: impl Fn(&mut ChaCha8Rng) -> Shape) -> (u32, u32) {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut model = Model::generate(shape(&mut random), random);
        corrupt(&mut model);
        // Without such a reply, the judge cannot know whether the database was empty.
        let shows_first = |reply: Vec<Message>| reply.iter().any(|message| message.seq == 1);
        let mut replies = model.requests.iter().filter_map(|one| model.reply(one));
        if !replies.any(shows_first) {
            continue;
        }
        let (verdict, found) = verdict(&model);
        let linearizable = is_linearizable(&model);
        assert_eq!(
            verdict != Verdict::Invalid,
            linearizable,
            "seed {seed}: the judge found {found:?} in {model:#?}"
        );
        if linearizable {
            valid += 1;
        } else {
            invalid += 1;
        }
    }
    (valid, invalid)
}

#[test]
fn judge_and_oracle_agree_on_small_histories() {
    let (valid, invalid) = assert_agreement(0..10_000, |random| Shape {
        coroutines: random.random_range(1..=4),
        requests: random.random_range(1..=2),
        users: 2,
        replicas: 2,
        before: 0,
        unknown: 20,
        failed: 5,
        pages: false,
        ..Shape::default()
    });
    assert!(
        valid > 2_000 && invalid > 2_000,
        "{valid} valid and {invalid} invalid ones are no fair trial"
    );
}

/// A full reply has only one to three messages, and many requests are never answered, so that numbers go unseen.
#[test]
fn judge_and_oracle_agree_on_histories_with_holes() {
    let (valid, invalid) = assert_agreement(0..10_000, |random| Shape {
        coroutines: random.random_range(1..=3),
        requests: random.random_range(3..=4),
        users: random.random_range(1..=3),
        replicas: 2,
        before: 0,
        unknown: 50,
        failed: 5,
        window: random.random_range(1..=3),
        pages: false,
        ..Shape::default()
    });
    assert!(
        valid > 2_000 && invalid > 2_000,
        "{valid} valid and {invalid} invalid ones are no fair trial"
    );
}
