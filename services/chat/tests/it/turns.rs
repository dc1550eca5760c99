//! Rooms take turns with questions for proofs, by queue or by call.

use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::Value;
use testbed::{Database, eventually};

use crate::harness::{Client, messager, messager_with, web, worker};

const ENDS: [&str; 2] = ["!rpc", "!pow"];

fn texts(frames: &[Value]) -> Vec<String> {
    let text = |frame: &Value| frame["proof"]["text"].as_str().map(str::to_owned);
    frames.iter().filter_map(text).collect()
}

#[test]
fn rooms_take_turns_and_each_gets_its_proofs_in_order_however_they_are_asked_for() {
    let database = Database::new();
    let web = web(&database);
    // Any of several messagers may enqueue the questions for the workers.
    let _messagers = [messager(&database), messager(&database)];
    let (mut many, mut one) = (Client::join(&web, "many"), Client::join(&web, "one"));
    for number in 0..40 {
        many.send("u", &format!("{number}{}", ENDS[number % 2]));
    }
    many.up_to(40);
    for number in 0..2 {
        one.send("u", &format!("{number}{}", ENDS[number % 2]));
    }
    one.up_to(2);
    eventually("one of each room is handed on", || {
        database.rows::<u64>("SELECT COUNT(*) FROM jobs WHERE queue = 'proofs'") == [2]
    });
    let _worker = worker(&database);
    let of_one = one.up_to(4);
    assert_eq!(texts(&of_one), ["0", "1"]);
    let of_many = many.up_to(80);
    let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(texts(&of_many), expected);
    let times = |frame: &Value| frame["sent_at"].as_str().map(str::to_owned);
    assert!(
        times(&of_one[1]) < times(&of_many[10]),
        "forty of one room do not hold up another"
    );
    eventually("nothing is left", || {
        let left = "SELECT (SELECT COUNT(*) FROM jobs) + (SELECT COUNT(*) FROM proofs)";
        database.rows::<u64>(left) == [0]
    });
}

#[test]
fn a_call_waits_for_a_worker_however_often_who_waits_is_restarted() {
    // More than the attempts that a job has.
    const RESTARTS: usize = 7;
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    client.send("u", "work!rpc");
    assert_eq!(client.next()["seq"], 1);
    for _ in 0..RESTARTS {
        let mut messager = messager(&database);
        eventually("it waits for the reply", || {
            let waits =
                "SELECT COUNT(*) FROM jobs WHERE queue = 'calls' AND claimed_at IS NOT NULL";
            database.rows::<u64>(waits) == [1]
        });
        messager.terminate();
        assert!(messager.exit_status().success());
    }
    client.assert_silent(Duration::from_millis(100));
    let (_messager, _worker) = (messager(&database), worker(&database));
    let proof = client.next();
    assert_eq!(
        (&proof["kind"], &proof["username"]),
        (&Value::from("proof"), &Value::from("internal_worker"))
    );
}

#[test]
fn a_question_that_another_version_wrote_is_skipped_and_the_next_has_its_turn() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    for text in ["one!pow", "two!pow", "three!pow"] {
        client.send("u", text);
    }
    client.up_to(3);
    let rewrite = "UPDATE proofs SET task = '{}' WHERE seq = 2";
    let mut connection = database.connect();
    connection.query_drop(rewrite).expect("it is a table");
    let (_messager, _worker) = (messager(&database), worker(&database));
    assert_eq!(texts(&client.up_to(5)), ["one", "three"]);
    eventually("nothing is left", || {
        let left = "SELECT (SELECT COUNT(*) FROM jobs) + (SELECT COUNT(*) FROM proofs)";
        database.rows::<u64>(left) == [0]
    });
}

#[test]
fn a_call_without_a_reply_in_time_fails_and_the_next_has_its_turn() {
    let database = Database::new();
    let (web, _messager) = (
        web(&database),
        messager_with(&database, &["--reply-timeout=10s"]),
    );
    let mut client = Client::join(&web, "r");
    client.send("u", "one!rpc");
    assert_eq!(client.next()["seq"], 1);
    assert_eq!(client.next()["kind"], "notice");
    let _worker = worker(&database);
    client.send("u", "two!rpc");
    assert_eq!(client.next()["message"], "two!rpc");
    assert_eq!(texts(&[client.next()]), ["two"]);
    eventually("nothing is left", || {
        let left = "SELECT (SELECT COUNT(*) FROM jobs) + (SELECT COUNT(*) FROM proofs)";
        database.rows::<u64>(left) == [0]
    });
}

#[test]
fn a_call_that_has_failed_leaves_no_reply_and_the_next_has_its_turn() {
    let database = Database::new();
    let (web, _messager) = (web(&database), messager(&database));
    let mut client = Client::join(&web, "r");
    client.send("u", "one!rpc");
    client.send("u", "two!rpc");
    client.up_to(2);
    let called = "SELECT COUNT(*) FROM jobs WHERE queue = 'calls' AND claimed_at IS NOT NULL";
    eventually("it is called for", || database.rows::<u64>(called) == [1]);
    // As if the messager that waited for it had died each time.
    database.rows::<u8>("UPDATE jobs SET attempt = 9, claimed_at = NULL, available_at = UTC_TIMESTAMP(6) WHERE queue = 'calls'");
    assert_eq!(client.next()["kind"], "notice");
    let _worker = worker(&database);
    assert_eq!(texts(&[client.next()]), ["two"]);
    eventually("nothing is left", || {
        let left = "SELECT (SELECT COUNT(*) FROM jobs) + (SELECT COUNT(*) FROM proofs)";
        database.rows::<u64>(left) == [0]
    });
}
