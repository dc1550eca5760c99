//! A database that does not answer.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use testbed::{Answer, Database, HostStatus, HttpClient, OwnDatabase, Replica, eventually};

use crate::harness::{assert_problem, note_text, start_with, store, store_request};

/// The time-out of a request is much shorter than the database's.
const SHORT_REQUEST_TIMEOUT: [&str; 2] = ["--request-timeout=3s", "--database-timeout=30s"];
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Added for a loaded machine. Waiting for the time-out of the database would take longer.
const SLACK: Duration = Duration::from_secs(10);

/// Starts a service, stores a note, and freezes the database while a connection is open.
fn on_a_frozen_database(server: &mut OwnDatabase, options: &[&str]) -> Replica {
    let replica = start_with(&server.database().url(), options);
    assert_eq!(store(&mut replica.client(), "a", "x").status, 200);
    let process = server.process().expect("it runs");
    process.freeze().expect("it runs");
    replica
}

/// Sends all requests at once; returns their answers, and how long the last took.
fn send_all(replica: &Replica, requests: &[Vec<u8>]) -> (Vec<Answer>, Duration) {
    let mut clients: Vec<HttpClient> = requests.iter().map(|_| replica.client()).collect();
    let start = Instant::now();
    for (client, request) in clients.iter_mut().zip(requests) {
        client.send_raw(request);
    }
    let answers = clients.iter_mut().map(HttpClient::receive).collect();
    (answers, start.elapsed())
}

fn get_request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into()
}

#[test]
fn requests_that_a_frozen_database_does_not_answer_get_503_at_their_deadline() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &SHORT_REQUEST_TIMEOUT);
    // More requests than the pool has connections, with short and long bodies.
    let long = "x".repeat(4096);
    let all = [
        get_request("/notes/a"),
        store_request("a", "y"),
        store_request("b", &long),
    ];
    let (answers, waited) = send_all(&replica, &[all.clone(), all.clone(), all].concat());
    for answer in answers {
        assert_problem(&answer, 503, "The database does not answer");
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    assert!(waited < REQUEST_TIMEOUT + SLACK, "{waited:?}");
}

#[test]
fn readiness_on_a_frozen_database_is_denied_within_two_seconds() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let options = ["--request-timeout=30s", "--database-timeout=30s"];
    let replica = on_a_frozen_database(&mut server, &options);
    let time_readiness = || {
        let (answers, waited) = send_all(&replica, &vec![get_request("/readyz"); 8]);
        for answer in answers {
            assert_problem(&answer, 503, "The database does not answer");
        }
        waited
    };
    // Generous, for a loaded machine. One after the other they would take 12 s.
    let waited = time_readiness();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    eventually("they are answered within two seconds", || {
        time_readiness() < Duration::from_secs(2)
    });
}

#[test]
fn a_service_serves_again_when_its_database_does() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &SHORT_REQUEST_TIMEOUT);
    let mut client = replica.client();
    assert_eq!(client.get("/notes/a").status, 503);
    server.process().expect("it runs").thaw().expect("it runs");
    eventually("the note is served", || {
        client.get("/notes/a").status == 200
    });
    assert_eq!(store(&mut client, "a", "y").status, 200);
    assert_eq!(note_text(&mut client, "/notes/a"), "y");
}

#[test]
fn the_log_reports_an_outage_once_and_its_problems_name_the_line() {
    let database = Database::new();
    let host = database.proxy();
    let replica = start_with(&host.url(), &SHORT_REQUEST_TIMEOUT);
    let mut client = replica.client();
    assert_eq!(store(&mut client, "a", "x").status, 200);
    host.set(HostStatus::Away);
    let answers = [(); 5].map(|()| client.get("/notes/a"));
    let instances = answers.map(|answer| {
        assert_problem(&answer, 503, "The database does not answer");
        answer.json()["instance"].clone()
    });
    let first = instances[0].as_str().expect("a 503 has one");
    assert!(instances.iter().all(|instance| instance == first));
    let line = format!("the database fails instance={first} ");
    eventually("the cause is in the log", || replica.log().contains(&line));
    assert_eq!(replica.log().matches("the database fails").count(), 1);

    host.set(HostStatus::TakesWrites);
    eventually("the end is in the log", || {
        client.get("/notes/a");
        replica
            .log()
            .contains(&format!("the database works again instance={first} "))
    });
}

#[test]
fn a_service_is_up_while_its_database_is_away() {
    let database = Database::new();
    let host = database.proxy();
    let replica = start_with(&host.url(), &[]);
    host.set(HostStatus::Away);
    assert_eq!(replica.client().get("/healthz").status, 200);
    assert_eq!(replica.client().get("/metrics").status, 200);
}

#[test]
fn a_write_that_may_still_happen_is_504_and_a_request_that_was_not_begun_is_503() {
    let database = Database::new();
    let options = ["--request-timeout=2s", "--database-timeout=60s"];
    let replica = start_with(&database.url(), &options);
    let mut client = replica.client();
    assert_eq!(store(&mut client, "a", "x").status, 200);
    let mut other = database.connect();
    other
        .query_drop("LOCK TABLES notes WRITE")
        .expect("it is there");
    let answer = store(&mut client, "a", "y");
    assert_problem(&answer, 504, "did not say whether it was done");
    assert_eq!(answer.header("Retry-After"), None);
    assert_problem(&client.get("/notes/a"), 503, "The database does not answer");
    other.query_drop("UNLOCK TABLES").expect("it is there");
    eventually("it is done after all", || {
        let answer = client.get("/notes/a");
        answer.status == 200 && answer.json()["text"] == "y"
    });
}
