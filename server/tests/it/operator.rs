//! What the operator sees: the log, and how answers refer to it.

use std::process::Command;

use mysql::prelude::Queryable;
use serde_json::Value;

use crate::metrics::scrape;
use testbed::{Answer, Database, HttpClient, Replica, eventually};

/// The line of the log with the cause of a 5xx.
fn cause(replica: &Replica, answer: &Answer) -> String {
    let problem = answer.json();
    let instance = problem["instance"].as_str().unwrap_or_default();
    assert!(instance.starts_with("urn:uuid:"), "{problem}");
    let mut cause = None;
    eventually("the cause is in the log", || {
        let log = replica.log();
        let mut lines = log.lines();
        cause = lines
            .find(|line| line.contains(&format!("instance={instance} ")))
            .map(str::to_owned);
        cause.is_some()
    });
    cause.expect("it was found")
}

#[test]
fn the_answer_to_a_failure_of_the_server_names_the_line_of_the_log_with_the_cause() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &[
            // The wait for the lock times out after half of the database's time-out, on MySQL up to a second later.
            "--request-timeout=10s",
            "--database-timeout=8s",
            "--queue-messages=1",
            "--batch-messages=1",
        ],
    );
    let mut client = replica.client();
    database
        .connect()
        .query_drop("ALTER TABLE messages ADD CONSTRAINT refusal CHECK (text <> 'refuse me')")
        .expect("the table is there");
    let refused = client.post("ann", "refuse me");
    assert_eq!(refused.status, 500);
    assert!(cause(&replica, &refused).contains("the database refuses"));

    let holder = database.hold_the_lock();
    client.send_post("ann", "waits for the lock", "");
    database.wait_for_a_writer(None);
    let mut second = replica.client();
    second.send_post("ann", "waits in the queue", "");
    eventually("it is there", || scrape(&replica)["queue_messages"] == "1");
    let mut third = replica.client();
    third.send_post("ann", "has no place in it", "");
    for (answer, expected) in [
        (client.receive(), "Lock wait timeout"),
        (second.receive(), "Lock wait timeout"),
        (third.receive(), "the queue is full"),
    ] {
        assert_eq!(answer.status, 503);
        let line = cause(&replica, &answer);
        assert!(line.contains(expected), "{line}");
    }
    drop(holder);

    database
        .connect()
        .query_drop("RENAME TABLE messages TO elsewhere")
        .expect("the table is there");
    let unanswered = client.get("/messages");
    assert_eq!(unanswered.status, 503);
    assert!(cause(&replica, &unanswered).contains("the database fails"));

    let malformed = client.post("", "x");
    assert_eq!(
        malformed.json().get("instance"),
        None,
        "the fault is the client's"
    );
}

#[test]
fn a_client_that_pipelines_too_much_gets_the_line_of_the_log() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let holder = database.hold_the_lock();
    let mut client = replica.client();
    client.send_post("ann", "keeps the others waiting", "");
    client.send_raw(
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            .repeat(128)
            .as_bytes(),
    );
    // Including the request for the metrics.
    eventually("all have arrived", || {
        scrape(&replica)["requests_open"] == "130"
    });
    drop(holder);
    for _ in 0..128 {
        assert_eq!(client.receive().status, 200);
    }
    let refused = client.receive();
    assert_eq!(refused.status, 503);
    assert!(cause(&replica, &refused).contains("too many were sent ahead"));
}

/// All events of a log in JSON.
fn events(replica: &Replica) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("each line is a JSON object");
    replica.log().lines().map(parse).collect()
}

#[test]
fn a_log_in_json_records_requests_without_their_content() {
    let database = Database::new();
    let mut replica = Replica::spawn(
        &database.url(),
        &["--log-format=json", "--log-level=trace", "--workers=77"],
    );
    let ready = replica.wait_for_line(r#""message":"ready","address":""#);
    let (address, _) = ready.split_once('"').expect("a string ends");
    let mut client = HttpClient::connect(address.parse().expect("the log shows an address"));
    client.send_post(
        "secret-user",
        "secret-text",
        "X-Request-Id: a-proxy/1.2:3\r\n",
    );
    assert_eq!(client.receive().status, 200);
    let overlong = "x".repeat(129);
    for invalid in ["two words", &overlong] {
        client.request(
            "GET",
            "/healthz",
            &format!("X-Request-Id: {invalid}\r\n"),
            b"",
        );
    }
    client.request("GET", "/messages?before=secret-query", "", b"");
    let malformed = client.request("GET", "/\u{1b}[31m", "", b"");
    assert_eq!(malformed.status, 404);
    let with_message = |message: &str| -> Vec<Value> {
        let mut events = events(&replica);
        events.retain(|event| event["message"] == message);
        events
    };
    eventually("all are logged", || with_message("request").len() == 5);

    let start = &with_message("starting")[0];
    assert_eq!(start["workers"], 77);
    assert_eq!(start["request_timeout"], "10s");
    assert_eq!(start["log_format"], "json");
    let requests = with_message("request");
    let first = &requests[0];
    assert_eq!(
        (&first["method"], &first["path"], &first["status"]),
        (&"POST".into(), &"/messages".into(), &200.into())
    );
    assert_eq!(first["request_id"], "a-proxy/1.2:3");
    assert_eq!(first["level"], "DEBUG");
    assert!(first["duration_ms"].as_f64() > Some(0.0), "{first}");
    assert!(
        first["peer"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:"))
    );
    let stored: Vec<String> = database.rows("SELECT LOWER(HEX(request_id)) FROM messages");
    let id = first["resource_id"].as_str().map(|id| id.replace('-', ""));
    assert_eq!(id.as_ref(), stored.first(), "it identifies the row");
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.get("request_id").is_none())
    );
    assert_eq!(requests[3]["path"], "/messages");
    let log = replica.log();
    assert!(!log.contains("secret"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
    replica.terminate();
    assert!(replica.exit_status().success());
    assert_eq!(
        events(&replica)
            .last()
            .map(|event| event["message"].clone()),
        Some("stopped".into())
    );
}

#[test]
fn a_build_names_itself_everywhere() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let health = replica.client().get("/healthz").json();
    assert_eq!(health["status"], "up");
    let (version, build) = (&health["version"], &health["build"]);
    let (version, build) = (
        version.as_str().expect("text"),
        build.as_str().expect("text"),
    );
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(!build.is_empty());

    let metrics = replica.client().get("/metrics").body;
    let labels = format!(r#"build_info{{build="{build}",version="{version}"}} 1"#);
    assert!(String::from_utf8_lossy(&metrics).contains(&labels));
    let start = format!("starting version=\"{version}\" build=\"{build}\" listen=127.0.0.1:0 ");
    assert!(replica.log().contains(&start), "{}", replica.log());
    let shown = Command::new(env!("CARGO_BIN_EXE_server"))
        .arg("--version")
        .output();
    let shown = shown.expect("the server's binary can be started").stdout;
    assert_eq!(
        String::from_utf8_lossy(&shown),
        format!("server {version} ({build})\n")
    );
}

#[test]
fn the_log_does_not_contain_the_user_of_a_row_that_the_database_refuses() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    assert_eq!(client.post("secretive", "x").status, 200);
    let delete = "DELETE FROM counters WHERE user = 'secretive'";
    database
        .connect()
        .query_drop(delete)
        .expect("the table is there");
    let refused = client.post("secretive", "y");
    assert_eq!(refused.status, 500);
    let cause = cause(&replica, &refused);
    assert!(cause.contains("ERROR 1062 (23000), of user_seq"), "{cause}");
    assert!(!replica.log().contains("secretive"), "{}", replica.log());
}
