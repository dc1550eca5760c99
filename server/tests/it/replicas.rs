//! Several replicas over one database.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Answer, Caller, Database, Replica};

/// A request and its reply, with the times between which it was under way.
struct Exchange {
    text: String,
    user: String,
    sent: Instant,
    answered: Instant,
    reply: Answer,
}

/// Many callers send to the replicas in turn; gives all exchanges.
fn load(replicas: &[Replica], callers: usize, posts: usize) -> Vec<Exchange> {
    let addresses: Vec<_> = replicas.iter().map(Replica::address).collect();
    let barrier = Arc::new(Barrier::new(callers));
    let threads: Vec<_> = (0..callers)
        .map(|number| {
            let (barrier, addresses) = (Arc::clone(&barrier), addresses.clone());
            std::thread::spawn(move || {
                let mut connections: Vec<Caller> =
                    addresses.into_iter().map(Caller::connect).collect();
                barrier.wait();
                let exchange = |post: usize| {
                    let (user, text) = (
                        format!("user {}", (number + post) % 10),
                        format!("{number}/{post}"),
                    );
                    let turn = (number + post) % connections.len();
                    let sent = Instant::now();
                    let reply = connections[turn].post(&user, &text);
                    Exchange {
                        text,
                        user,
                        sent,
                        answered: Instant::now(),
                        reply,
                    }
                };
                (0..posts).map(exchange).collect::<Vec<_>>()
            })
        })
        .collect();
    threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("all are answered"))
        .collect()
}

/// Promises 1 to 5 and 7, from the replies alone.
fn assert_promises(exchanges: &[Exchange]) {
    let mut shown: BTreeMap<u64, Value> = BTreeMap::new();
    let mut own: Vec<(u64, &Exchange)> = Vec::new();
    for exchange in exchanges {
        let messages = exchange.reply.messages();
        let seqs: Vec<u64> = messages
            .iter()
            .filter_map(|message| message["seq"].as_u64())
            .collect();
        let last = *seqs.last().expect("a reply is not empty");
        let first = last.saturating_sub(9).max(1);
        assert!(
            seqs.iter().copied().eq(first..=last),
            "a reply skips or lacks messages: {seqs:?}"
        );
        let message = messages.last().expect("a reply is not empty");
        assert_eq!(
            message["text"], exchange.text,
            "the own message is not the last"
        );
        assert_eq!(message["user"], exchange.user);
        own.push((last, exchange));
        for message in messages {
            let seq = message["seq"].as_u64().expect("seq is a number");
            let before = shown.entry(seq).or_insert_with(|| message.clone());
            assert_eq!(*before, message, "a message is shown in two ways");
        }
    }
    own.sort_by_key(|(seq, _)| *seq);
    assert!(
        own.iter()
            .map(|(seq, _)| *seq)
            .eq(1..=exchanges.len() as u64),
        "seq has a hole or a duplicate"
    );

    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last_date = "";
    for message in shown.values() {
        let count = counts
            .entry(message["user"].as_str().expect("a string"))
            .or_default();
        *count += 1;
        assert_eq!(
            message["user_seq"], *count,
            "user_seq has a hole or a duplicate"
        );
        let date = message["sent_at"].as_str().expect("a string");
        assert!(date >= last_date, "sent_at goes back");
        last_date = date;
    }

    let mut earliest_answer: Option<Instant> = None;
    for (seq, exchange) in own.iter().rev() {
        assert!(
            earliest_answer.is_none_or(|answered| exchange.sent <= answered),
            "a request was sent after a later number was answered, and got {seq}"
        );
        earliest_answer = Some(earliest_answer.map_or(exchange.answered, |answered| {
            answered.min(exchange.answered)
        }));
    }
}

#[test]
fn two_replicas_under_many_callers_keep_all_promises() {
    let database = Database::new();
    let replicas = [Replica::start(&database), Replica::start(&database)];
    let exchanges = load(&replicas, 50, 40);
    assert_promises(&exchanges);
    assert_eq!(database.count(), 2000);
    database.assert_in_order();
}

#[test]
fn replicas_with_batches_of_one_keep_all_promises() {
    let database = Database::new();
    let replicas: Vec<_> = (0..3)
        .map(|_| Replica::start_with(&database, &["--batch-messages", "1"]))
        .collect();
    assert_promises(&load(&replicas, 20, 20));
    database.assert_in_order();
}

#[test]
fn one_key_at_both_replicas_at_once_gives_one_message_and_equal_replies() {
    let database = Database::new();
    let replicas = [Replica::start(&database), Replica::start(&database)];
    let rounds = 30;
    for round in 0..rounds {
        let key = Uuid::new_v4().to_string();
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (barrier, key) = (Arc::clone(&barrier), key.clone());
                let mut caller = replicas[number % 2].caller();
                std::thread::spawn(move || {
                    barrier.wait();
                    caller.post_with_key("ann", "once", &key)
                })
            })
            .collect();
        let replies: Vec<Answer> = threads
            .into_iter()
            .map(|thread| thread.join().expect("all are answered"))
            .collect();
        assert_eq!(replies[0].own_seq(), round + 1);
        assert!(
            replies.iter().all(|reply| reply.body == replies[0].body),
            "{replies:?}"
        );
    }
    assert_eq!(database.count(), rounds);
    database.assert_in_order();
}

#[test]
fn a_repeated_key_gives_the_very_same_reply_at_any_later_time() {
    let database = Database::new();
    let replicas = [Replica::start(&database), Replica::start(&database)];
    let mut callers = [replicas[0].caller(), replicas[1].caller()];
    for index in 0..15 {
        callers[0].post("bob", &format!("before {index}"));
    }
    let key = "\"123E4567-e89b-42d3-a456-426614174000\"";
    let first = callers[0].post_with_key("ann", "x", key);
    for index in 0..15 {
        callers[1].post("bob", &format!("after {index}"));
    }
    let again = callers[1].post_with_key("ann", "x", key.trim_matches('"'));
    assert_eq!(again.body, first.body);
    assert_eq!(again.own_seq(), 16);
    for (user, text) in [("ann", "y"), ("Ann", "x")] {
        assert_eq!(
            callers[1].post_with_key(user, text, key).status,
            422,
            "{user} {text}"
        );
    }
    assert_eq!(database.count(), 31);
    assert_eq!(
        database.rows::<u64>("SELECT repeats FROM counters WHERE user = ''"),
        [3]
    );
    database.assert_in_order();
}

#[test]
fn several_replicas_may_start_at_once_on_an_empty_database() {
    for _ in 0..3 {
        let database = Database::new();
        let mut replicas: Vec<_> = (0..4)
            .map(|_| Replica::spawn(&database.url(), &[]))
            .collect();
        for replica in &mut replicas {
            replica.wait_until_ready();
        }
        assert_promises(&load(&replicas, 8, 4));
        database.assert_in_order();
    }
}
