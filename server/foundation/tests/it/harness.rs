//! Starts the service of the tests, sends it requests and checks the answers.

use std::process::Command;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::json;
use testbed::{Answer, Database, HttpClient, Replica, eventually, program};

/// The command line of the example on the database at this URL, on a free port.
pub(crate) fn notes(database_url: &str) -> Command {
    let mut command = program("examples/notes").expect("tests of the package build its examples");
    command.envs([("LISTEN", "127.0.0.1:0"), ("DATABASE_URL", database_url)]);
    command
}

/// Starts the service with options, and waits until it is ready.
pub(crate) fn start_with(database_url: &str, options: &[&str]) -> Replica {
    let mut replica = Replica::run(notes(database_url).args(options));
    replica.wait_until_ready();
    replica
}

pub(crate) fn start(database: &Database) -> Replica {
    start_with(&database.url(), &[])
}

/// The bytes of a request that stores a note.
pub(crate) fn store_request(name: &str, text: &str) -> Vec<u8> {
    let body = json!({ "name": name, "text": text }).to_string();
    let length = body.len();
    format!("POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

/// Stores a note, and waits for the answer.
pub(crate) fn store(client: &mut HttpClient, name: &str, text: &str) -> Answer {
    client.send_raw(&store_request(name, text));
    client.receive()
}

/// Fetches the text of a note that exists.
pub(crate) fn note_text(client: &mut HttpClient, path: &str) -> String {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let text = answer.json()["text"].as_str().map(str::to_owned);
    text.expect("a note has a text")
}

/// How many notes are stored.
pub(crate) fn count(database: &Database) -> u64 {
    database.rows("SELECT COUNT(*) FROM notes")[0]
}

/// Fails unless the answer is a problem document of this status whose detail contains `expected`.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, expected: &str) {
    let kind = answer.header("Content-Type");
    assert_eq!(
        (answer.status, kind),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    let detail = problem["detail"].as_str().expect("a problem has a detail");
    assert!(
        detail.contains(expected),
        "{expected:?} is not in {detail:?}"
    );
}

/// The value of a series of `/metrics`, named without the prefix of the program; `None` if it is not shown.
pub(crate) fn metric(replica: &Replica, series: &str) -> Option<u64> {
    let shown = replica.client().get("/metrics").body;
    let shown = String::from_utf8(shown).expect("the format is UTF-8");
    let line = format!("notes_{series} ");
    let value = shown.lines().find_map(|shown| shown.strip_prefix(&line));
    value.map(|value| value.parse().expect("a whole number"))
}

/// Locks a note: requests that store a note of this name wait until the connection ends its transaction.
pub(crate) fn lock_note(database: &Database, name: &str) -> Conn {
    let mut holder = database.connect();
    holder.query_drop("BEGIN").expect("the connection is up");
    holder
        .exec_drop("REPLACE INTO notes VALUES (?, 'held')", (name,))
        .expect("nobody else holds it");
    holder
}

/// Waits until this many requests wait for the lock of [`lock_note`].
pub(crate) fn wait_for_writers(database: &Database, writers: u64) {
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.processlist
         WHERE db = '{}' AND info LIKE 'REPLACE%'",
        database.name()
    );
    eventually("notes wait to be stored", || {
        database.rows::<u64>(&waiting) == [writers]
    });
}
