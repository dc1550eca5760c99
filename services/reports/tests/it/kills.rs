//! The API, workers and the database are killed under load: each task ends once, with the right report.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Database, OwnDatabase, Replica, SetAtEnd, eventually, stable_address};
use uuid::Uuid;

use crate::service::{api, load_phone_7, start, try_request, worker};

const CLIENTS: usize = 8;
/// Reports that are served between two interruptions.
const REPORTS_BETWEEN: usize = 25;
const LEASE: [&str; 2] = ["--lease", "1s"];

/// Requests a report, retries until it is accepted, and returns the task's id.
fn request_until_accepted(address: SocketAddr, correlation_id: usize) -> String {
    let wanted = json!({ "numbers": [7], "correlation_id": correlation_id }).to_string();
    let head = format!(
        "POST /api/v1/report HTTP/1.1\r\nIdempotency-Key: {}\r\nX:",
        Uuid::new_v4()
    );
    let mut id = String::new();
    eventually("a report is accepted", || {
        let Some((status, body)) = try_request(address, &head, &wanted) else {
            return false;
        };
        assert!(matches!(status, 202 | 503 | 504), "{status} {body}");
        let task: Value = serde_json::from_str(&body).expect("all answers are JSON");
        task["task_id"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut id);
        status == 202
    });
    id
}

/// Waits for the report of a task.
fn report(address: SocketAddr, id: &str) -> Value {
    let mut report = Value::Null;
    eventually("there is a report", || {
        let found = try_request(address, &format!("GET /api/v1/report/{id}"), "");
        let Some((200, body)) = found else {
            thread::sleep(Duration::from_millis(20));
            return false;
        };
        report = serde_json::from_str(&body).expect("all answers are JSON");
        true
    });
    report
}

/// Requests reports with several clients, calls `interrupt` `times` times meanwhile, and checks the reports.
fn check_reports_during(
    database: &Database,
    address: SocketAddr,
    times: usize,
    mut interrupt: impl FnMut(usize),
) {
    let figures = load_phone_7(database);
    let is_over = AtomicBool::new(false);
    let (requested, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run_client = || {
        while !is_over.load(Ordering::Relaxed) {
            let correlation_id = requested.fetch_add(1, Ordering::Relaxed);
            let id = request_until_accepted(address, correlation_id);
            let report = report(address, &id);
            assert_eq!(report["data"], json!([figures]));
            assert_eq!(report["correlation_id"], json!(correlation_id));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let over = SetAtEnd(&is_over);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(run_client)).collect();
        let wait_for_more = || {
            let before = served.load(Ordering::Relaxed);
            eventually("more is served", || {
                served.load(Ordering::Relaxed) >= before + REPORTS_BETWEEN
                    || clients.iter().any(ScopedJoinHandle::is_finished)
            });
        };
        wait_for_more();
        for round in 0..times {
            interrupt(round);
            wait_for_more();
        }
        drop(over);
        for client in clients {
            client.join().expect("a client was served");
        }
    });
    let requested = requested.into_inner() as u64;
    let ends: Vec<(String, u64)> =
        database.rows("SELECT ended_as, COUNT(*) FROM tasks GROUP BY ended_as");
    assert_eq!(ends, [("completed".to_owned(), requested)]);
    assert_eq!(database.rows::<u64>("SELECT COUNT(*) FROM jobs"), [0]);
}

#[test]
fn while_workers_are_killed_and_frozen_each_task_is_completed_once() {
    let database = Database::new();
    let api = api(&database);
    let mut workers: Vec<Replica> = (0..2).map(|_| worker(&database, &LEASE)).collect();
    check_reports_during(&database, api.address(), 8, |round| {
        let place = round % 2;
        if round % 4 < 2 {
            workers[place].kill();
            workers[place] = worker(&database, &LEASE);
        } else {
            workers[place].freeze();
            // Longer than the lease.
            thread::sleep(Duration::from_millis(1_300));
            workers[place].thaw();
        }
    });
}

#[test]
fn while_the_api_is_killed_each_task_is_completed_once() {
    let database = Database::new();
    let address = stable_address();
    let start = || {
        let options = ["--listen", &address.to_string()];
        start("api", &database, &options)
    };
    let mut api = start();
    let _workers = [worker(&database, &LEASE), worker(&database, &LEASE)];
    check_reports_during(&database, address, 8, |_| {
        api.kill();
        api = start();
    });
}

#[test]
fn while_the_database_is_killed_each_task_is_completed_once() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let database = Database::of(&server);
    let api = api(&database);
    let _workers = [worker(&database, &LEASE), worker(&database, &LEASE)];
    check_reports_during(&database, api.address(), 4, |_| {
        server
            .process()
            .and_then(testbed::Process::kill)
            .expect("it runs");
        server.start().expect("it starts again");
    });
}
