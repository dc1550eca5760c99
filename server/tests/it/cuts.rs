//! The connection to the database is cut in the middle of a transaction.

use std::time::Duration;

use mysql::prelude::Queryable;
use testbed::{Action, Database, HttpClient, PATIENCE, Part, Proxy, Replica, eventually};
use uuid::Uuid;

/// Statements of the first packet: BEGIN, the lock, the last nine, and the look-up of the client's key.
const LOCK_STATEMENTS: usize = 4;
/// Statements of the second: messages, counters, COMMIT.
const STORE_STATEMENTS: usize = 3;

/// A replica behind a proxy, with one message stored.
fn behind_a_proxy(database: &Database, options: &[&str]) -> (Proxy, Replica, HttpClient) {
    let proxy = database.proxy();
    let replica = Replica::start_at(&proxy.url(), options);
    let mut client = replica.client();
    assert_eq!(client.post("ann", "first").own_seq(), 1);
    (proxy, replica, client)
}

#[test]
fn connections_that_are_lost_between_two_requests_fail_no_request() {
    let database = Database::new();
    let (proxy, _replica, mut client) = behind_a_proxy(&database, &[]);
    for number in 0..20 {
        assert_eq!(client.get("/messages").status, 200, "{number}");
        proxy.cut_all();
    }
}

#[test]
fn a_transaction_cut_at_any_statement_stores_its_message_once() {
    let database = Database::new();
    let (proxy, _replica, mut client) = behind_a_proxy(&database, &[]);
    let after = |part, statements| (0..=statements).map(move |n| (part, Action::CutAfter(n)));
    let others = [Action::CutPacket, Action::CutReply];
    let cuts = after(Part::Lock, LOCK_STATEMENTS)
        .chain(after(Part::Store, STORE_STATEMENTS))
        .chain(others.map(|action| (Part::Lock, action)))
        .chain(others.map(|action| (Part::Store, action)));
    let mut seq = 1;
    for (part, action) in cuts {
        for key in [None, Some(Uuid::new_v4().to_string())] {
            let text = format!("{part:?} {action:?} {key:?}");
            let cut = proxy.intercept(part, action);
            let reply = match &key {
                None => client.post("ann", &text),
                Some(key) => client.post_with_key("ann", &text, key),
            };
            assert!(cut.reached(PATIENCE), "nothing was cut: {text}");
            seq += 1;
            assert_eq!(reply.own_seq(), seq, "{text}");
            assert_eq!(reply.own()["text"], text);
            if let Some(key) = key {
                assert_eq!(client.post_with_key("ann", &text, &key).body, reply.body);
            }
        }
    }
    assert_eq!(database.count(), seq);
    database.assert_in_order();
}

#[test]
fn a_commit_whose_reply_is_lost_is_found_and_answered_with_its_number() {
    let database = Database::new();
    let (proxy, replica, mut client) = behind_a_proxy(&database, &[]);
    let lost = proxy.intercept(Part::Store, Action::CutAfter(usize::MAX));
    let reply = client.post("ann", "second");
    assert!(lost.reached(PATIENCE));
    assert_eq!(reply.own_seq(), 2);
    assert_eq!(
        database.rows::<u64>("SELECT repeats FROM counters WHERE user = ''"),
        [1],
        "it was found, not stored again"
    );
    eventually("the log says so", || {
        replica.log().contains("outcome unknown")
    });
    assert_eq!(client.post("ann", "third").own_seq(), 3);
    database.assert_in_order();
}

#[test]
fn a_commit_that_arrives_after_its_connection_was_given_up_stores_once() {
    let database = Database::new();
    let (proxy, _replica, mut client) = behind_a_proxy(&database, &[]);
    let delayed = proxy.intercept(Part::Store, Action::Delay);
    client.send_post("ann", "second", "");
    assert!(delayed.reached(PATIENCE));
    // The lock is still held by the connection that was given up; the writer waits for it on another.
    database.wait_for_a_writer(None);
    delayed.release();
    assert_eq!(client.receive().own_seq(), 2);
    assert_eq!(client.post("ann", "third").own_seq(), 3);
    assert_eq!(database.count(), 3);
    database.assert_in_order();
}

#[test]
fn a_commit_that_never_arrives_is_stored_again() {
    let database = Database::new();
    let (proxy, _replica, mut client) = behind_a_proxy(&database, &["--database-timeout", "2s"]);
    let delayed = proxy.intercept(Part::Store, Action::Delay);
    let reply = client.post("ann", "second");
    assert!(delayed.reached(PATIENCE));
    assert_eq!(reply.own_seq(), 2);
    // Too late: the database has ended the session, which was silent for too long.
    delayed.release();
    assert_eq!(client.post("ann", "third").own_seq(), 3);
    assert_eq!(database.count(), 3);
    database.assert_in_order();
}

#[test]
fn a_client_that_gets_504_gets_the_reply_by_repeating_its_key() {
    let database = Database::new();
    // No wait for the lock times out before the request does.
    let options = ["--request-timeout", "5s", "--database-timeout", "60s"];
    let (proxy, replica, mut client) = behind_a_proxy(&database, &options);
    let key = Uuid::new_v4().to_string();
    let delayed = proxy.intercept(Part::Store, Action::Delay);
    client.send_post("ann", "second", &format!("Idempotency-Key: {key}\r\n"));
    assert!(delayed.reached(PATIENCE));
    // Until the request has timed out.
    std::thread::sleep(Duration::from_secs(5));
    // The lock is still held by the connection that was given up. The writer waits for it, to look up what became of its
    // COMMIT, and does not get it.
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| client.receive());
        while !answer.is_finished() {
            for writer in database.waiting_writers() {
                // It may be gone by now.
                let _ = database.connect().query_drop(format!("KILL {writer}"));
            }
        }
        answer.join().expect("it comes in time")
    });
    assert_eq!(answer.status, 504, "{answer:?}");
    delayed.release();
    eventually("it is stored after all", || database.count() == 2);
    let repeated = client.post_with_key("ann", "second", &key);
    assert_eq!(repeated.own_seq(), 2);
    assert_eq!(replica.client().post("ann", "third").own_seq(), 3);
    database.assert_in_order();
}
