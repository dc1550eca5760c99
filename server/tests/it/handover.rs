//! A replica that hands its batches over to another.

mod breakdowns;
mod strangers;

use std::net::SocketAddr;

use uuid::Uuid;

use crate::harness::{Caller, Database, Replica, assert_promises, eventually, lasting_address};
use crate::metrics::scrape;
use crate::replicas::load;

/// So that no wait is over while a test prepares something.
const PATIENT: [&str; 4] = ["--database-timeout", "10m", "--request-timeout", "10m"];

/// A replica that hands over to the one at this address, and has found it.
fn giver(database: &Database, to: SocketAddr, options: &[&str]) -> Replica {
    let to = format!("http://{to}");
    let options = [&["--hand-over-to", &to], options].concat();
    let giver = Replica::start_with(database, &options);
    wait_until_found(&giver, 1);
    giver
}

/// Waits until a giver has found its peer so many times.
fn wait_until_found(giver: &Replica, times: usize) {
    eventually("the peer is found", || {
        giver.log().matches("handing batches over").count() >= times
    });
}

fn counted(replica: &Replica, metric: &str) -> u64 {
    scrape(replica)[metric].parse().expect("a whole number")
}

fn handed_over(giver: &Replica) -> u64 {
    counted(giver, "messages_handed_over_total")
}

/// Messages that a replica stored itself.
fn stored(replica: &Replica) -> u64 {
    counted(replica, "messages_stored_total")
}

fn key(key: Uuid) -> String {
    format!("Idempotency-Key: {key}\r\n")
}

/// Queues messages at a giver, so that they become one batch: while they come, its writer waits for the one before. Each has
/// a caller of its own.
fn one_batch(database: &Database, giver: &Replica, posts: &[(&str, &str, &str)]) -> Vec<Caller> {
    let lock = database.hold_the_lock();
    let mut before = giver.caller();
    before.send_post("ann", "the batch before", "");
    database.wait_for_a_writer(None);
    let mut callers = Vec::new();
    for (user, text, headers) in posts {
        let mut caller = giver.caller();
        caller.send_post(user, text, headers);
        callers.push(caller);
        eventually("it waits for the next batch", || {
            counted(giver, "queue_messages") == callers.len() as u64
        });
    }
    drop(lock);
    assert_eq!(before.receive().status, 200);
    callers
}

#[test]
fn messages_of_a_replica_that_hands_over_are_stored_by_its_peer_and_all_promises_are_kept() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &PATIENT);
    let replicas = [giver, taker];
    // Half of them for each.
    assert_promises(&load(&replicas, 50, 40));
    database.assert_in_order();
    let [giver, taker] = &replicas;
    assert_eq!((handed_over(giver), stored(giver)), (1000, 0));
    assert_eq!((handed_over(taker), stored(taker)), (0, 2000));
    assert_eq!(counted(giver, "batch_messages_count"), 0);
    assert!(!giver.log().contains("WARN"), "{}", giver.log());
}

#[test]
fn several_replicas_may_hand_over_to_one() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let givers = [(); 3].map(|()| giver(&database, taker.address(), &PATIENT));
    assert_promises(&load(&givers, 30, 20));
    database.assert_in_order();
    assert_eq!(givers.iter().map(handed_over).sum::<u64>(), 600);
    assert_eq!(stored(&taker), 600);
}

#[test]
fn all_replicas_may_share_the_options_that_name_the_peer() {
    let database = Database::new();
    let address = lasting_address();
    let to = format!("http://{address}");
    let taker = Replica::start_with(&database, &["--listen", &address, "--hand-over-to", &to]);
    assert_eq!(
        taker.log().matches("told to hand over to itself").count(),
        1
    );
    let giver = giver(&database, taker.address(), &[]);
    assert_eq!(giver.caller().post("ann", "x").own_seq(), 1);
    assert_eq!(taker.caller().post("ann", "y").own_seq(), 2);
    assert_eq!((handed_over(&giver), stored(&taker)), (1, 2));
    assert!(!giver.log().contains("WARN"), "{}", giver.log());
}

#[test]
fn a_repeated_key_gives_the_very_same_reply_whether_it_is_handed_over_or_not() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &PATIENT);
    let mut callers = [giver.caller(), taker.caller()];
    let mut first = Vec::new();
    for round in 0..12 {
        let (key, at) = (Uuid::new_v4().to_string(), round % 2);
        let reply = callers[at].post_with_key("ann", "x", &key);
        assert_eq!(reply.own_seq(), round as u64 + 1);
        first.push((key, reply));
    }
    for caller in &mut callers {
        for (key, reply) in &first {
            assert_eq!(caller.post_with_key("ann", "x", key).body, reply.body);
            let refusal = caller.post_with_key("ann", "y", key);
            assert_eq!(refusal.status, 422, "{refusal:?}");
            assert_eq!(
                refusal.header("Content-Type"),
                Some("application/problem+json")
            );
        }
    }
    assert_eq!(stored(&giver), 0);
    assert_eq!(database.count(), 12);
    database.assert_in_order();
}

#[test]
fn what_is_new_and_what_is_not_in_one_batch_is_answered_each_by_itself() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &PATIENT);
    let keys = [(); 15].map(|()| key(Uuid::new_v4()));
    let mut caller = giver.caller();
    let first = keys.each_ref().map(|key| {
        caller.send_post("ann", "x", key);
        caller.receive()
    });
    // Their windows overlap, or lie apart.
    let repeated = [14, 0, 12, 3, 12];
    let posts: Vec<_> = (repeated.iter())
        .flat_map(|&index| {
            let key = keys[index].as_str();
            [("ann", "x", key), ("ann", "y", key), ("bob", "new", "")]
        })
        .collect();
    let mut callers = one_batch(&database, &giver, &posts);
    let replies = callers.chunks_exact_mut(3).zip(repeated);
    for ((callers, index), new) in replies.zip(keys.len() as u64 + 2..) {
        assert_eq!(callers[0].receive().body, first[index].body, "{index}");
        assert_eq!(callers[1].receive().status, 422);
        assert_eq!(callers[2].receive().own_seq(), new);
    }
    assert_eq!(handed_over(&giver), 15 + 1 + 10);
    assert_eq!((stored(&giver), stored(&taker)), (0, 21));
    database.assert_in_order();
}

#[test]
fn a_batch_larger_than_those_of_the_peer_is_stored_in_several() {
    let database = Database::new();
    let options = [&PATIENT[..], &["--batch-messages", "10"]].concat();
    let taker = Replica::start_with(&database, &options);
    let giver = giver(&database, taker.address(), &PATIENT);
    let mut callers = one_batch(&database, &giver, &[("ann", "x", ""); 35]);
    for (caller, seq) in callers.iter_mut().zip(2_u64..) {
        let seqs: Vec<_> = (caller.receive().messages().iter())
            .map(|message| message["seq"].as_u64().expect("a number"))
            .collect();
        assert!(
            seqs.iter().copied().eq(seq.saturating_sub(9).max(1)..=seq),
            "{seqs:?}"
        );
    }
    // An answer is counted once it is written.
    for (replica, route, count) in [(&giver, "/messages", 36), (&taker, "/batches", 2)] {
        let answers = format!(r#"requests_total{{method="POST",route="{route}",status="200"}}"#);
        eventually("all answers are counted", || {
            counted(replica, &answers) == count
        });
    }
    assert_eq!((handed_over(&giver), stored(&giver)), (36, 0));
    assert_eq!(counted(&taker, "batch_messages_count"), 5);
    database.assert_in_order();
}

#[test]
fn a_batch_that_is_too_large_for_one_request_is_stored_by_the_replica_itself() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &PATIENT);
    let giver = giver(&database, taker.address(), &PATIENT);
    // Six characters of JSON each.
    let long = "\u{1}".repeat(4096);
    assert_eq!(
        giver.caller().post("ann", &long).own()["text"],
        long.as_str()
    );
    assert_eq!((handed_over(&giver), stored(&giver)), (1, 0));
    let posts = [("ann", long.as_str(), ""); 3];
    let callers = one_batch(&database, &giver, &posts);
    for (mut caller, seq) in callers.into_iter().zip(3..) {
        let own = caller.receive().own();
        assert_eq!(
            (&own["seq"], &own["text"]),
            (&seq.into(), &long.as_str().into())
        );
    }
    assert_eq!((handed_over(&giver), stored(&giver)), (2, 3));
    assert_eq!(giver.caller().post("ann", "short").own_seq(), 6);
    assert_eq!((handed_over(&giver), stored(&giver)), (3, 3));
    database.assert_in_order();
}

#[test]
fn a_peer_that_takes_smaller_bodies_only_harms_nobody() {
    let database = Database::new();
    let taker = Replica::start_with(&database, &["--body-limit", "1000"]);
    let giver = giver(&database, taker.address(), &[]);
    let long = "x".repeat(1000);
    assert_eq!(giver.caller().post("ann", &long).own_seq(), 1);
    assert_eq!((handed_over(&giver), stored(&giver)), (0, 1));
    wait_until_found(&giver, 2);
    assert_eq!(giver.caller().post("ann", "short").own_seq(), 2);
    assert_eq!((handed_over(&giver), stored(&giver)), (1, 1));
}
