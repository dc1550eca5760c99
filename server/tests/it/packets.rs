//! The largest packet that the database accepts.

use mysql::prelude::Queryable;
use testbed::{HttpClient, OwnDatabase, Replica, eventually};

use crate::metrics::scrape;

/// Sets the largest packet of new connections, and ends the open ones.
fn set_max_packet(server: &OwnDatabase, bytes: u32) {
    let mut root = server.connect().expect("it is up");
    let mut run = |statement: String| {
        // A connection may be gone by now.
        let _ = root.query_drop(statement);
    };
    run(format!("SET GLOBAL max_allowed_packet = {bytes}"));
    let others = "SELECT id FROM information_schema.processlist WHERE user = 'dm'";
    let mut connection = server.connect().expect("it is up");
    let others: Vec<u64> = connection.query(others).expect("the list can be read");
    for id in others {
        run(format!("KILL {id}"));
    }
}

#[test]
fn batches_shrink_to_the_packet_that_the_database_accepts() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &["--request-timeout=60s"]);
    replica.client().post("ann", "before");
    let mut clients: Vec<HttpClient> = (0..100).map(|_| replica.client()).collect();
    for (bytes, text) in [
        (1 << 20, "x".repeat(4000)),
        (36 << 10, "🌍".repeat(4096)),
        // Many short ones, in which the numbers have more bytes than the texts.
        (36 << 10, "y".to_owned()),
    ] {
        set_max_packet(&server, bytes);
        for _ in 0..3 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.send_post(&format!("user {number}"), &text, "");
            }
            for client in &mut clients {
                assert_eq!(client.receive().own()["text"], *text);
            }
        }
    }
    assert_eq!(server.database().count(), 1 + 9 * 100);
    server.database().assert_in_order();
}

#[test]
fn a_batch_in_progress_is_split_for_a_connection_with_smaller_packets() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start(server.database());
    let database = server.database();
    replica.client().post("user 5", "has a counter");
    replica.client().post("ann", "was the last");
    let holder = database.hold_the_lock();
    let mut first = replica.client();
    first.send_post("first", "waits for the lock", "");
    let writer = database.wait_for_a_writer(None);
    let mut clients: Vec<HttpClient> = (0..40).map(|_| replica.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_post(&format!("user {number}"), &"x".repeat(4000), "");
    }
    eventually("all wait for the next batch", || {
        scrape(&replica)["queue_messages"] == "40"
    });
    let mut counter = database.connect();
    counter.query_drop("BEGIN").expect("the connection is up");
    counter
        .query_drop("SELECT messages FROM counters WHERE user = 'user 5' FOR UPDATE")
        .expect("the counter is free");
    counter.query_drop("DO 0").expect("the connection is up");
    drop(holder);
    assert_eq!(first.receive().status, 200);
    eventually("the batch waits", || database.waiting_writers() == [writer]);
    set_max_packet(&server, 64 << 10);
    drop(counter);
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(database.count(), 43);
    database.assert_in_order();
    let too_large = r#"batch_failures_total{cause="too_large"}"#;
    assert_ne!(scrape(&replica)[too_large], "0");
}

#[test]
fn a_message_that_cannot_fit_into_a_packet_is_refused_at_once_and_others_are_not() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut client = replica.client();
    assert_eq!(client.post("ann", "before").own_seq(), 1);
    set_max_packet(&server, 16 << 10);
    let refused = client.post("ann", &"🌍".repeat(4096));
    assert_eq!(refused.status, 413, "{refused:?}");
    let detail = refused.json()["detail"].to_string();
    let bytes: usize = detail
        .split(|sign: char| !sign.is_ascii_digit())
        .find_map(|digits| digits.parse().ok())
        .expect("it says how many bytes are taken");
    let text = "🌍".repeat(bytes / 4);
    assert_eq!(client.post("ann", &text).own()["text"], text);
    assert_eq!(client.post("ann", &format!("{text}🌍")).status, 413);
}

#[test]
fn a_database_with_too_small_packets_is_refused_at_start() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    set_max_packet(&server, 35 << 10);
    drop(Replica::start(server.database()));
    set_max_packet(&server, 34 << 10);
    let mut replica = Replica::spawn(&server.database().url(), &[]);
    assert_eq!(replica.exit_status().code(), Some(1));
    let log = replica.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("max_allowed_packet is 34816"), "{last}");
    assert!(last.contains("set it to 35840"), "{last}");
}
