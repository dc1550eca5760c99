//! What a task shows about attempts that failed, or whose workers died.

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use testbed::{Database, eventually};

use crate::harness::{reports, run};
use crate::service::{api, load_phone_7, path, request_report, wait_for, wait_until_ended, worker};

#[test]
fn a_task_whose_workers_died_each_time_tells_how_often_and_when_the_last_began() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let task = request_report(&mut client, &json!({ "numbers": [7] }));
    database
        .connect()
        .query_drop(
            "UPDATE jobs
             SET attempt = 5, claimed_at = '2024-01-01 00:00:00', available_at = '2024-01-01 00:00:15'",
        )
        .expect("the table is there");
    let _worker = worker(&database, &[]);
    let failed = wait_until_ended(&mut client, &task);
    assert_eq!(failed["task_status"], "error", "{failed}");
    assert_eq!(failed["attempts"], 5, "{failed}");
    assert_eq!(failed["started"], "2024-01-01T00:00:00Z", "{failed}");
    assert_eq!(failed["error_message"], "who worked on it died each time");
}

#[test]
fn a_task_that_is_cancelled_in_work_keeps_what_was_known_of_it() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let task = request_report(&mut client, &json!({ "numbers": [7] }));
    database
        .connect()
        .query_drop(
            "UPDATE jobs
             SET attempt = 2, claimed_at = UTC_TIMESTAMP(6), last_error = 'no luck',
                 available_at = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND",
        )
        .expect("the table is there");
    let in_work = client.get(&path("tasks", &task)).json();
    assert_eq!(in_work["task_status"], "in_work");
    let answer = client.request("DELETE", &path("tasks", &task), "", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    for cancelled in [answer.json(), client.get(&path("tasks", &task)).json()] {
        assert_eq!(cancelled["task_status"], "cancelled");
        assert_eq!(cancelled["attempts"], 2, "{cancelled}");
        for member in ["started", "error_message"] {
            assert_eq!(cancelled[member], in_work[member], "{cancelled}");
        }
    }
}

#[test]
fn a_database_that_refuses_is_told_by_an_incident_that_the_log_has() {
    let database = Database::new();
    load_phone_7(&database);
    let api = api(&database);
    let mut client = api.client();
    let worker = worker(&database, &[]);
    let mut connection = database.connect();
    connection
        .query_drop("RENAME TABLE call_durations TO elsewhere")
        .expect("it is there");
    let task = request_report(&mut client, &json!({ "numbers": [7] }));
    let mut failed = Value::Null;
    eventually("an attempt fails", || {
        failed = client.get(&path("tasks", &task)).json();
        failed["error_message"].is_string() && failed["task_status"] == "pending"
    });
    assert_eq!(failed["started"], Value::Null, "it waits: {failed}");
    let message = failed["error_message"].as_str().expect("it is a text");
    let incident = message.strip_prefix("the database failed; the log tells why, by ");
    let incident = incident.expect(message);
    let log = worker.log();
    assert!(
        incident.starts_with("urn:uuid:") && log.contains(incident),
        "{message} {log}"
    );
    connection
        .query_drop("RENAME TABLE elsewhere TO call_durations")
        .expect("it is there");
    wait_for(&mut client, &task, "completed");
}

#[test]
fn a_worker_with_options_that_cannot_be_is_refused() {
    let database = Database::new();
    for (options, error) in [
        (["--threads", "0"], "1..=255"),
        (["--threads", "256"], "1..=255"),
        (["--lease", "999ms"], "must be at least 1s"),
    ] {
        let output = run(reports("worker", &database).args(options), "");
        assert_eq!(output.status, Some(2), "{output:?}");
        assert!(output.err.contains(error), "{output:?}");
    }
}
