//! `GET /metrics`: its format, and that each value changes when it should.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use mysql::prelude::Queryable;

use testbed::{Database, Replica, eventually};

type Samples = BTreeMap<String, String>;

const KEY: &str = "0192f0c1-2b3a-7c4d-8e5f-0123456789ab";

/// All samples by name and labels, without the prefix. Values are unchanged text.
pub(crate) fn scrape(replica: &Replica) -> Samples {
    let text = fetch(replica);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            let name = name.strip_prefix("dummy_messenger_").unwrap_or(name);
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn fetch(replica: &Replica) -> String {
    let answer = replica.client().get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    String::from_utf8(answer.body).expect("the format is UTF-8")
}

/// The samples that have changed, with their new values.
fn changes(before: &Samples, after: &Samples) -> Samples {
    after
        .iter()
        .filter(|&(name, value)| before.get(name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn metrics_keep_the_text_format_and_the_conventions() {
    let database = Database::new();
    let replica = Replica::start(&database);
    replica.client().post("ann", "x");
    let text = fetch(&replica);

    let (mut helped, mut kind) = ("", ("", ""));
    let mut bucket: Option<(&str, f64)> = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, meaning) = help.split_once(' ').expect("name and meaning");
            assert!(!meaning.is_empty(), "{line}");
            helped = name;
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            kind = of.split_once(' ').expect("name and type");
            assert_eq!(kind.0, helped, "HELP precedes TYPE");
            assert_eq!(kind.0.ends_with("_total"), kind.1 == "counter", "{line}");
            let ours = kind.0.starts_with("dummy_messenger_");
            assert!(ours || kind.0.starts_with("process_"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("name and value");
            let value: f64 = value.parse().expect("a number");
            let name = series.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(kind.0).expect("TYPE precedes");
            match (kind.1, suffix) {
                ("counter" | "gauge", "") => assert!(value >= 0.0, "{line}"),
                ("histogram", "_bucket") => {
                    let (labels, _) = series.split_once("le=").expect("a bound");
                    let before = bucket.filter(|&(of, _)| of == labels);
                    assert!(before.is_none_or(|(_, less)| less <= value), "{line}");
                    bucket = Some((labels, value));
                }
                ("histogram", "_sum") => {}
                ("histogram", "_count") => {
                    assert_eq!(bucket.map(|(_, all)| all), Some(value), "{line}");
                }
                other => panic!("{other:?} in {line}"),
            }
        }
    }
    check_with_promtool(&text);
}

/// Checks with the tool of Prometheus itself, if it is installed.
fn check_with_promtool(text: &str) {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    let mut stdin = promtool.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
}

#[test]
fn each_request_is_counted_once_with_its_labels() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    let before = scrape(&replica);
    client.post("ann", "x");
    client.post_with_key("ann", "y", KEY);
    client.post_with_key("ann", "y", KEY);
    client.post_with_key("ann", "z", KEY);
    client.post(" ann", "x");
    client.get("/messages");
    eventually("it is ready", || client.get("/readyz").status == 200);
    client.request("HEAD", "/healthz", "", b"");
    client.get("/whatever/a/client/thinks/of?user=ann");
    client.request("DELETE", "/messages", "", b"");
    let expected = [
        (
            r#"requests_total{method="POST",route="/messages",status="200"}"#,
            "3",
        ),
        (
            r#"requests_total{method="POST",route="/messages",status="422"}"#,
            "2",
        ),
        (
            r#"requests_total{method="GET",route="/messages",status="200"}"#,
            "1",
        ),
        (
            r#"requests_total{method="GET",route="/readyz",status="200"}"#,
            "1",
        ),
        (
            r#"requests_total{method="GET",route="/healthz",status="200"}"#,
            "1",
        ),
        (
            r#"requests_total{method="other",route="other",status="404"}"#,
            "1",
        ),
        (
            r#"requests_total{method="other",route="other",status="405"}"#,
            "1",
        ),
        (
            r#"request_duration_seconds_count{method="POST",route="/messages"}"#,
            "5",
        ),
    ];
    let mut changed = Samples::new();
    // An answer is counted after it is written, so its client may see it a moment earlier.
    eventually("all are counted", || {
        changed = changes(&before, &scrape(&replica));
        expected
            .iter()
            .all(|&(name, count)| changed.get(name).is_some_and(|now| now == count))
    });
    let new_value = |name: &str| changed.get(name).map(String::as_str);
    assert_eq!(new_value("messages_stored_total"), Some("2"));
    assert_eq!(new_value("messages_repeated_total"), Some("1"));
    assert_eq!(new_value("batch_messages_count"), Some("4"));
    assert_eq!(new_value("batch_messages_sum"), Some("4"));
    for name in ["lock_wait_seconds", "lock_hold_seconds", "commit_seconds"] {
        assert_eq!(new_value(&format!("{name}_count")), Some("4"), "{name}");
        assert!(new_value(&format!("{name}_sum")).is_some(), "{name}");
    }
    assert_eq!(
        new_value(r#"database_connections{pool="writing",state="in_use"}"#),
        Some("1")
    );
    assert_eq!(
        new_value(r#"database_connections{pool="reading",state="idle"}"#),
        Some("1")
    );
    for name in changed.keys() {
        for never in ["failures", "lost", "unknown", "refused", "whatever"] {
            assert!(!name.contains(never), "{name} changed");
        }
    }
}

#[test]
fn metrics_are_shown_while_the_queue_is_full_and_the_database_does_not_answer() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &["--workers=1", "--queue-messages=1", "--batch-messages=1"],
    );
    let mut holder = database.connect();
    holder
        .query_drop("LOCK TABLES messages WRITE, counters WRITE")
        .expect("the tables are there");
    let mut reader = replica.client();
    reader.send_raw(b"GET /messages HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut clients = [(); 3].map(|()| replica.client());
    clients[0].send_post("ann", "is with the writer", "");
    eventually("both wait for the database", || {
        let shown = scrape(&replica);
        shown["requests_open"] == "3"
            && shown["queue_messages"] == "0"
            && shown[r#"database_connections{pool="reading",state="in_use"}"#] == "1"
    });
    for client in &mut clients[1..] {
        client.send_post("ann", "waits, or is refused", "");
    }
    eventually("one waits, and one is refused", || {
        let shown = scrape(&replica);
        // Two posts, a page, and the request for the metrics.
        shown["requests_open"] == "4"
            && shown["connections_waiting"] == "4"
            && shown["queue_messages"] == shown["queue_messages_limit"]
            && shown[r#"messages_refused_total{reason="queue_full"}"#] == "1"
    });
    drop(holder);
    assert_eq!(reader.receive().status, 200);
    let mut statuses = clients.map(|mut client| client.receive().status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503]);
}

#[test]
fn retries_and_unknown_outcomes_are_counted_by_their_causes() {
    let database = Database::new();
    // The wait for the lock times out after half of the database's time-out, on MySQL up to a second later.
    let options = ["--database-timeout=8s", "--request-timeout=60s"];
    let replica = Replica::start_with(&database, &options);
    let mut client = replica.client();
    client.post("ann", "makes the connection");
    let before = scrape(&replica);

    let holder = database.hold_the_lock();
    client.send_post("ann", "waits for longer than the database allows", "");
    eventually("an attempt has failed", || {
        scrape(&replica)[r#"batch_failures_total{cause="lock_timeout"}"#] != "0"
    });
    drop(holder);
    assert_eq!(client.receive().own_seq(), 2);

    let mut rival = database.connect();
    rival.query_drop("BEGIN").expect("the connection is up");
    rival
        .query_drop(
            "INSERT INTO messages (seq, user, user_seq, text, sent_at, request_id)
             VALUES (3, 'rival', 1, 'x', NOW(6), REPEAT('r', 16))",
        )
        .expect("the number is free");
    client.send_post("ann", "is killed on its way to COMMIT", "");
    let mut inserting = Vec::new();
    eventually("the writer waits for the rival", || {
        inserting = database.rows::<u64>(
            "SELECT id FROM information_schema.processlist
             WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE 'INSERT INTO messages%'",
        );
        !inserting.is_empty()
    });
    database
        .connect()
        .query_drop(format!("KILL {}", inserting[0]))
        .expect("the user may kill its connections");
    eventually("the connection is lost", || {
        scrape(&replica)[r#"batch_failures_total{cause="connection"}"#] != "0"
    });
    drop(rival);
    assert_eq!(client.receive().own_seq(), 3);

    let changed = changes(&before, &scrape(&replica));
    let new_value = |name: &str| changed.get(name).map(String::as_str);
    assert!(new_value(r#"batch_failures_total{cause="lock_timeout"}"#).is_some());
    assert_eq!(
        new_value(r#"batch_failures_total{cause="connection"}"#),
        Some("1")
    );
    assert_eq!(
        new_value(r#"database_connections_lost_total{pool="writing"}"#),
        Some("1")
    );
    assert_eq!(
        new_value(r#"database_connections_opened_total{pool="writing"}"#),
        Some("2")
    );
    assert_eq!(new_value("unknown_outcomes_total"), Some("1"));
    assert_eq!(
        new_value(r#"unknown_outcomes_resolved_total{as="not_stored"}"#),
        Some("1")
    );
    assert_eq!(
        new_value(r#"unknown_outcomes_resolved_total{as="stored"}"#),
        None
    );
    assert_eq!(new_value("messages_stored_total"), Some("3"));
    database.assert_in_order();
}
