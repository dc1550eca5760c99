//! Starts APIs and workers, and sends requests to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Answer, Database, HttpClient, PATIENCE, Replica, eventually};

use crate::harness::{array, load, reports};

/// Starts an API on a free port.
pub(crate) fn api(database: &Database) -> Replica {
    start("api", database, &["--listen", "127.0.0.1:0"])
}

/// Starts a worker.
pub(crate) fn worker(database: &Database, options: &[&str]) -> Replica {
    start("worker", database, options)
}

pub(crate) fn start(command: &str, database: &Database, options: &[&str]) -> Replica {
    let mut replica = Replica::run(reports(command, database).args(options));
    replica.wait_until_ready();
    replica
}

/// Requests a report, and returns the task.
#[track_caller]
pub(crate) fn request_report(client: &mut HttpClient, wanted: &Value) -> Value {
    let answer = post(client, wanted);
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()
}

pub(crate) fn post(client: &mut HttpClient, wanted: &Value) -> Answer {
    client.request("POST", "/api/v1/report", "", wanted.to_string().as_bytes())
}

/// The path of a task, or of its report.
pub(crate) fn path(of: &str, task: &Value) -> String {
    let id = task["task_id"].as_str().expect("a task has an id");
    format!("/api/v1/{of}/{id}")
}

/// Waits until the task has ended, and returns it.
pub(crate) fn wait_until_ended(client: &mut HttpClient, task: &Value) -> Value {
    let answer = client.request("GET", &path("tasks", task), "Prefer: wait=30\r\n", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until a task has this status, and returns it.
pub(crate) fn wait_for(client: &mut HttpClient, task: &Value, status: &str) -> Value {
    let mut found = Value::Null;
    eventually(status, || {
        found = client.get(&path("tasks", task)).json();
        found["task_status"] == status
    });
    found
}

/// Loads three calls of phone 7, of 10, 20 and 40 seconds, and returns its figures.
pub(crate) fn load_phone_7(database: &Database) -> Value {
    load(
        database,
        &["-"],
        &array(&[(7, 0, 10_000), (7, 50_000, 70_000), (7, 100_000, 140_000)]),
    );
    json!({
        "phone": 7, "known": true, "cnt_all_attempts": 3,
        "cnt_att_dur": { "10_sec": 1, "10_30_sec": 1, "30_sec": 1 },
        "min_price_att": 100, "max_price_att": 400, "avg_dur_att": 23.333_333, "sum_price_att_over_15": 600,
    })
}

/// Sends a request on a new connection. None if the server cannot be reached, or closes the connection.
pub(crate) fn try_request(address: SocketAddr, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
