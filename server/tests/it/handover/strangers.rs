//! Who is no peer, or is none any more; and what is sent to a replica in the name of another.

use std::ops::Range;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Caller, Database, Relay, Replica, eventually};

use super::{PATIENT, counted, giver, handed_over, stored, wait_until_found};

/// Shows a name on the database as long as the connection lives.
fn show(database: &Database) -> (Conn, Uuid) {
    let (mut connection, name) = (database.connect(), Uuid::new_v4());
    let taken = connection.query_first(format!(
        "SELECT GET_LOCK(SHA2(CONCAT(DATABASE(), '{name}'), 224), 0)"
    ));
    assert_eq!(taken.expect("the connection is up"), Some(1));
    (connection, name)
}

/// Asks for the name of a replica, with one that is shown on a database.
fn ask(replica: &Replica, from: &Database) -> Answer {
    let (_shown, name) = show(from);
    replica.caller().get(&format!("/batches?from={name}"))
}

/// The name of a replica.
fn name(replica: &Replica, database: &Database) -> Value {
    let welcome = ask(replica, database);
    assert_eq!(welcome.status, 200, "{welcome:?}");
    welcome.json()["name"].clone()
}

fn entry(user: &str, text: &str, id: Uuid) -> Value {
    json!({ "user": user, "text": text, "request_id": { "server": id } })
}

fn send(caller: &mut Caller, to: &Value, messages: &[Value]) {
    let body = json!({ "to": to, "within_ms": 10_000, "messages": messages }).to_string();
    caller.send_request("POST", "/batches", body.as_bytes());
}

/// Sends a batch, and waits for the answer.
fn store(replica: &Replica, to: &Value, messages: &[Value]) -> Answer {
    let mut caller = replica.caller();
    send(&mut caller, to, messages);
    caller.receive()
}

/// What the replies show: numbers, or that a key was used.
fn shown(answer: &Answer) -> Vec<Result<Vec<u64>, Value>> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let all = answer.json();
    let reply = |reply: &Value| {
        let part = reply.get("shown").ok_or_else(|| reply.clone())?;
        let part: Range<usize> = serde_json::from_value(part.clone()).expect("bounds");
        let messages = &all["messages"].as_array().expect("an array")[part];
        Ok((messages.iter())
            .map(|message| message["seq"].as_u64().expect("a number"))
            .collect())
    };
    let replies = all["replies"].as_array().expect("an array");
    replies.iter().map(reply).collect()
}

fn has_error_lines(replica: &Replica) -> bool {
    let log = replica.log();
    let mut levels = log.lines().map(|line| line.split_whitespace().nth(1));
    levels.any(|level| level == Some("ERROR"))
}

/// A replica that finds no peer where it looks for one. Gives why.
fn refused(database: &Database, to: &Replica) -> (Replica, String) {
    let to = format!("http://{}", to.address());
    let giver = Replica::start_with(database, &["--hand-over-to", &to]);
    let mut cause = None;
    eventually("the peer has refused", || {
        let log = giver.log();
        cause = log.lines().find_map(|line| {
            let (_, cause) = line.split_once("handing no batches over")?;
            Some(cause.to_owned())
        });
        cause.is_some()
    });
    (giver, cause.expect("it is there"))
}

#[test]
fn a_replica_of_another_database_is_handed_nothing() {
    let databases = [Database::new(), Database::new()];
    let other = Replica::start(&databases[1]);
    let (giver, cause) = refused(&databases[0], &other);
    assert!(
        cause.contains("421") && cause.contains("another database"),
        "{cause}"
    );
    assert_eq!(giver.caller().post("ann", "x").own_seq(), 1);
    assert_eq!((handed_over(&giver), stored(&giver)), (0, 1));
    assert_eq!(databases.map(|database| database.count()), [1, 0]);
}

#[test]
fn a_replica_that_hands_over_itself_is_handed_nothing() {
    let database = Database::new();
    let taker = Replica::start(&database);
    let first = giver(&database, taker.address(), &[]);
    let (second, cause) = refused(&database, &first);
    assert!(
        cause.contains("421") && cause.contains("hands over itself"),
        "{cause}"
    );
    assert_eq!(second.caller().post("ann", "x").own_seq(), 1);
    assert_eq!(first.caller().post("ann", "y").own_seq(), 2);
    assert_eq!([&second, &first, &taker].map(stored), [1, 0, 1]);
}

#[test]
fn a_batch_for_a_replica_of_before_is_not_taken_by_the_one_in_its_place() {
    let databases = [Database::new(), Database::new()];
    let takers = [0, 0, 1].map(|index: usize| Replica::start(&databases[index]));
    let relay = Relay::to(&takers[0]);
    let giver = giver(&databases[0], relay.address(), &[]);
    let mut caller = giver.caller();
    assert_eq!(caller.post("ann", "to the first").own_seq(), 1);

    // The connection to it lives on.
    relay.lead_to(&takers[1]);
    assert_eq!(caller.post("ann", "stored here").own_seq(), 2);
    wait_until_found(&giver, 2);
    assert_eq!(caller.post("ann", "to the second").own_seq(), 3);

    relay.lead_to(&takers[2]);
    assert_eq!(caller.post("ann", "stored here").own_seq(), 4);
    eventually("the giver knows why", || {
        giver.log().contains("another database")
    });
    assert_eq!(caller.post("ann", "stored here").own_seq(), 5);
    assert_eq!(
        giver
            .log()
            .matches("trouble=peer outcome_unknown=false")
            .count(),
        2
    );

    relay.lead_to(&takers[0]);
    wait_until_found(&giver, 3);
    assert_eq!(caller.post("ann", "to the first").own_seq(), 6);
    assert_eq!((handed_over(&giver), stored(&giver)), (3, 3));
    assert_eq!(takers.each_ref().map(stored), [2, 1, 0]);
    assert_eq!(databases[1].count(), 0);
    databases[0].assert_in_order();
}

#[test]
fn a_replica_tells_its_name_only_to_those_on_its_database() {
    let databases = [Database::new(), Database::new()];
    let replica = Replica::start(&databases[0]);
    let mine = name(&replica, &databases[0]);
    assert_eq!(name(&replica, &databases[0]), mine);
    assert_eq!(ask(&replica, &databases[1]).status, 421);
    let mut stranger = replica.caller();
    for (query, status) in [
        (format!("?from={}", Uuid::new_v4()), 421),
        (String::new(), 400),
        ("?from=".to_owned(), 400),
        ("?from=x".to_owned(), 400),
        (
            format!("?from={}&from={}", Uuid::new_v4(), Uuid::new_v4()),
            400,
        ),
        (format!("?name={}", Uuid::new_v4()), 400),
        ("?from=') OR SLEEP(9)".replace(' ', "%20"), 400),
    ] {
        let refusal = stranger.get(&format!("/batches{query}"));
        assert_eq!(refusal.status, status, "{query}");
        assert!(!String::from_utf8_lossy(&refusal.body).contains(mine.as_str().expect("a string")));
    }
    // Gone with the connection that showed it.
    let (shown, name) = show(&databases[0]);
    let path = format!("/batches?from={name}");
    assert_eq!(stranger.get(&path).status, 200);
    drop(shown);
    eventually("the name is not shown any more", || {
        stranger.get(&path).status == 421
    });
}

#[test]
fn a_batch_to_another_name_stores_nothing() {
    let database = Database::new();
    let taker = Replica::start(&database);
    let giver = giver(&database, taker.address(), &[]);
    let message = entry("mallory", "x", Uuid::new_v4());
    let refusal = store(
        &taker,
        &json!(Uuid::new_v4()),
        std::slice::from_ref(&message),
    );
    assert_eq!(refusal.status, 421, "{refusal:?}");
    assert_eq!(
        refusal.header("Content-Type"),
        Some("application/problem+json")
    );
    // One that hands over takes none, whatever the name.
    let name = name(&taker, &database);
    assert_eq!(
        store(&giver, &name, std::slice::from_ref(&message)).status,
        421
    );
    assert_eq!(database.count(), 0);
    assert_eq!(shown(&store(&taker, &name, &[message])), [Ok(vec![1])]);
}

#[test]
fn a_batch_with_one_message_outside_the_limits_stores_none() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let name = name(&replica, &database);
    let good = || entry("mallory", "x", Uuid::new_v4());
    let with = |field: &str, value: Value| {
        let mut message = good();
        message[field] = value;
        message
    };
    for (bad, status) in [
        (with("user", json!("m".repeat(65))), 422),
        (with("user", json!("")), 422),
        (with("user", json!(" mallory")), 422),
        (with("user", json!("mal\nlory")), 422),
        (with("text", json!("x".repeat(4097))), 422),
        (with("text", json!("")), 422),
        (with("text", json!("\0")), 422),
        (with("text", json!(1)), 400),
        (with("seq", json!(1)), 400),
        (with("request_id", json!(Uuid::new_v4())), 400),
        (with("request_id", json!({ "other": Uuid::new_v4() })), 400),
        (with("request_id", json!({ "server": "x" })), 400),
        (json!({ "user": "mallory", "text": "x" }), 400),
        (json!("x"), 400),
    ] {
        let refusal = store(&replica, &name, &[good(), bad.clone(), good()]);
        assert_eq!(refusal.status, status, "{bad}: {refusal:?}");
    }
    for (body, status) in [
        (
            json!({ "to": name, "within_ms": 0, "messages": [], "more": 1 }).to_string(),
            400,
        ),
        (json!({ "to": name, "within_ms": 0 }).to_string(), 400),
        (
            json!({ "to": name, "within_ms": 0, "messages": {} }).to_string(),
            400,
        ),
        (
            json!({ "to": name, "within_ms": 0, "messages": [] }).to_string() + "x",
            400,
        ),
        (
            json!({ "to": name, "within_ms": 0, "messages": [] }).to_string(),
            200,
        ),
        (
            format!(
                r#"{{"to":{name},"within_ms":0,"messages":[{}]}}"#,
                " ".repeat(64 << 10)
            ),
            413,
        ),
    ] {
        let mut caller = replica.caller();
        caller.send_request("POST", "/batches", body.as_bytes());
        let answer = caller.receive();
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(database.count(), 0);
    assert_eq!(replica.caller().post("ann", "x").own_seq(), 1);
    assert!(!has_error_lines(&replica), "{}", replica.log());
}

#[test]
fn one_request_id_twice_in_a_batch_stores_one_message() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let name = name(&replica, &database);
    for (round, kind) in (1..).step_by(2).zip(["server", "caller"]) {
        let id = json!({ kind: Uuid::new_v4() });
        let message =
            |user: &str, text: &str| json!({ "user": user, "text": text, "request_id": id });
        let other = entry("bob", "y", Uuid::new_v4());
        let messages = [
            message("ann", "x"),
            other,
            message("ann", "x"),
            message("ann", "y"),
            message("bob", "x"),
        ];
        let (first, second) = ((1..=round).collect(), (1..=round + 1).collect());
        let reused = || Err(json!("key_reused"));
        let expected: [Result<Vec<u64>, Value>; 5] = [
            Ok(first),
            Ok(second),
            Ok((1..=round).collect()),
            reused(),
            reused(),
        ];
        let answer = store(&replica, &name, &messages);
        assert_eq!(shown(&answer), expected);
        // At any later time as well.
        let answer = store(&replica, &name, &messages);
        assert_eq!(shown(&answer), expected);
    }
    assert_eq!(database.count(), 4);
    database.assert_in_order();
}

#[test]
fn messages_that_their_sender_has_stored_meanwhile_are_found_and_harm_no_other() {
    let database = Database::new();
    let replica = Replica::start_with(&database, &PATIENT);
    let name = name(&replica, &database);
    let [a, b] = ["a", "b"].map(|text| entry("ann", text, Uuid::new_v4()));
    let sent = store(&replica, &name, &[a.clone(), b.clone()]);
    assert_eq!(shown(&sent), [Ok(vec![1]), Ok(vec![1, 2])]);

    let lock = database.hold_the_lock();
    let mut before = replica.caller();
    before.send_post("ann", "the batch before", "");
    database.wait_for_a_writer(None);
    let [mut bob, mut carol] = [replica.caller(), replica.caller()];
    bob.send_post("bob", "x", "");
    eventually("bob waits", || counted(&replica, "queue_messages") == 1);
    let mut sender = replica.caller();
    let c = entry("ann", "c", Uuid::new_v4());
    send(&mut sender, &name, &[b, c, a]);
    eventually("the batch waits", || {
        counted(&replica, "queue_messages") == 4
    });
    carol.send_post("carol", "x", "");
    eventually("carol waits", || counted(&replica, "queue_messages") == 5);
    drop(lock);
    assert_eq!(before.receive().own_seq(), 3);
    assert_eq!(bob.receive().own_seq(), 4);
    let replies = [Ok(vec![1, 2]), Ok((1..=5).collect()), Ok(vec![1])];
    assert_eq!(shown(&sender.receive()), replies);
    assert_eq!(carol.receive().own_seq(), 6);

    let duplicates = counted(&replica, r#"batch_failures_total{cause="duplicate"}"#);
    assert_eq!(duplicates, 1);
    assert!(!has_error_lines(&replica), "{}", replica.log());
    assert_eq!(database.count(), 6);
    database.assert_in_order();
}

#[test]
fn a_batch_for_which_there_is_not_enough_room_is_refused_as_a_whole() {
    let database = Database::new();
    let options = [&PATIENT[..], &["--queue-messages", "3"]].concat();
    let replica = Replica::start_with(&database, &options);
    let name = name(&replica, &database);
    let lock = database.hold_the_lock();
    let mut callers = [(); 2].map(|()| replica.caller());
    callers[0].send_post("ann", "is with the writer", "");
    database.wait_for_a_writer(None);
    callers[1].send_post("ann", "waits", "");
    let waiting = || counted(&replica, "queue_messages");
    eventually("it waits", || waiting() == 1);

    let messages = [(); 3].map(|()| entry("bob", "x", Uuid::new_v4()));
    let refusal = store(&replica, &name, &messages);
    assert_eq!((refusal.status, waiting()), (429, 1), "{refusal:?}");
    let mut sender = replica.caller();
    send(&mut sender, &name, &messages[..2]);
    eventually("a smaller one fits", || waiting() == 3);
    assert_eq!(store(&replica, &name, &messages[2..]).status, 429);
    let refused = || counted(&replica, r#"messages_refused_total{reason="queue_full"}"#);
    assert_eq!(refused(), 0);
    assert_eq!(replica.caller().post("ann", "x").status, 503);
    assert_eq!(refused(), 1);

    drop(lock);
    assert_eq!(callers.map(|mut caller| caller.receive().own_seq()), [1, 2]);
    let replies = [Ok((1..=3).collect()), Ok((1..=4).collect())];
    assert_eq!(shown(&sender.receive()), replies);
    assert_eq!(database.count(), 4);
    database.assert_in_order();
}
