//! Several replicas over one database.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use mysql::prelude::Queryable;
use uuid::Uuid;

use crate::metrics::scrape;
use testbed::{Answer, Database, Exchange, HttpClient, Replica, assert_promises, eventually};

/// Many clients send to the replicas in turn; returns all exchanges.
pub(crate) fn load(replicas: &[Replica], clients: usize, posts: usize) -> Vec<Exchange> {
    let addresses: Vec<_> = replicas.iter().map(Replica::address).collect();
    let barrier = Arc::new(Barrier::new(clients));
    let threads: Vec<_> = (0..clients)
        .map(|number| {
            let (barrier, addresses) = (Arc::clone(&barrier), addresses.clone());
            std::thread::spawn(move || {
                let mut connections: Vec<HttpClient> =
                    addresses.into_iter().map(HttpClient::connect).collect();
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

#[test]
fn two_replicas_under_many_clients_keep_all_promises() {
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
                let mut client = replicas[number % 2].client();
                std::thread::spawn(move || {
                    barrier.wait();
                    client.post_with_key("ann", "once", &key)
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
fn rows_that_others_have_locked_next_to_the_lock_hold_up_no_message() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let users: Vec<String> = (0..20).map(|number| format!("user {number}")).collect();
    let mut clients: Vec<_> = users.iter().map(|user| (replica.client(), user)).collect();
    for (client, user) in &mut clients {
        assert_eq!(client.post(user, "before").status, 200);
    }
    // As a replica does that is frozen while it starts.
    let mut starting = database.connect();
    let row = "BEGIN; INSERT INTO counters (user, messages, last_sent_at) VALUES (' rehearsal', 1, NOW(6))";
    starting.query_drop(row).expect("the table is there");
    // All in one batch.
    let mut holder = database.hold_the_lock();
    for (client, user) in &mut clients {
        client.send_post(user, "after", "");
    }
    eventually("all are queued", || {
        scrape(&replica)["requests_open"] == "21"
    });
    holder.query_drop("ROLLBACK").expect("the connection is up");
    for (client, _) in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    starting
        .query_drop("ROLLBACK")
        .expect("the connection is up");
}

#[test]
fn a_stored_message_that_cannot_be_read_again_fails_alone() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    let key = Uuid::new_v4().to_string();
    assert_eq!(client.post("ann", "deleted later").status, 200);
    assert_eq!(client.post_with_key("ann", "x", &key).status, 200);
    let delete = "DELETE FROM messages WHERE seq = 1";
    database
        .connect()
        .query_drop(delete)
        .expect("the table is there");
    assert_eq!(client.post_with_key("ann", "x", &key).status, 500);
    assert_eq!(client.post("ann", "goes on").status, 200);
    replica.wait_for_line("cannot be read");
}

#[test]
fn a_repeated_key_gets_the_identical_reply_at_any_later_time() {
    let database = Database::new();
    let replicas = [Replica::start(&database), Replica::start(&database)];
    let mut clients = [replicas[0].client(), replicas[1].client()];
    for index in 0..15 {
        clients[0].post("bob", &format!("before {index}"));
    }
    let key = "\"123E4567-e89b-42d3-a456-426614174000\"";
    let first = clients[0].post_with_key("ann", "x", key);
    for index in 0..15 {
        clients[1].post("bob", &format!("after {index}"));
    }
    let again = clients[1].post_with_key("ann", "x", key.trim_matches('"'));
    assert_eq!(again.body, first.body);
    assert_eq!(again.own_seq(), 16);
    for (user, text) in [("ann", "y"), ("Ann", "x")] {
        assert_eq!(
            clients[1].post_with_key(user, text, key).status,
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
fn repeats_in_one_batch_each_get_their_original_reply() {
    const MESSAGES: usize = 40;
    // Their windows overlap, or lie apart.
    const REPEATED: [usize; 6] = [38, 0, 3, 17, 4, 17];
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    let keys: Vec<_> = (0..MESSAGES).map(|_| Uuid::new_v4().to_string()).collect();
    let first: Vec<_> = (keys.iter())
        .map(|key| client.post_with_key("ann", "x", key))
        .collect();

    let lock = database.hold_the_lock();
    let mut before = replica.client();
    before.send_post("ann", "the batch before", "");
    database.wait_for_a_writer(None);
    // A repeat does not join a batch that is under way, so all of these are the next one.
    let mut queued = Vec::new();
    let mut enqueue = |user: &str, text: &str, headers: &str| {
        let mut client = replica.client();
        client.send_post(user, text, headers);
        queued.push(client);
        let all = queued.len().to_string();
        eventually("it waits for the next batch", || {
            scrape(&replica)["queue_messages"] == all
        });
    };
    for index in REPEATED {
        enqueue("ann", "x", &format!("Idempotency-Key: {}\r\n", keys[index]));
        enqueue("bob", "new", "");
    }
    drop(lock);
    let total = before.receive().own_seq();
    let mut replies = queued.iter_mut().map(HttpClient::receive);
    for (index, new) in REPEATED.into_iter().zip(total + 1..) {
        let mut next = || replies.next().expect("there is one for each");
        assert_eq!(next().body, first[index].body, "repeat of {index}");
        assert_eq!(next().own_seq(), new);
    }
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
