//! The API: tasks, reports, and requests that it refuses.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use testbed::{Database, HttpClient, PATIENCE, eventually};
use uuid::Uuid;

use crate::service::{
    api, load_phone_7, path, post, request_report, start, wait_for, wait_until_ended, worker,
};

#[test]
fn a_client_that_posts_polls_and_gets_has_its_report() {
    let database = Database::new();
    let figures = load_phone_7(&database);
    let (api, _worker) = (api(&database), worker(&database, &[]));
    let mut client = api.client();
    for (wanted, correlation_id) in [
        (
            json!({ "numbers": [7], "correlation_id": "123123123" }),
            json!("123123123"),
        ),
        (json!({ "phones": [7], "correlation_id": 123 }), json!(123)),
        (json!({ "numbers": [7] }), json!(null)),
        (
            json!({ "numbers": [7], "from": "1969-01-01T00:00:00Z" }),
            json!(null),
        ),
    ] {
        let answer = post(&mut client, &wanted);
        assert_eq!(answer.status, 202, "{answer:?}");
        let task = answer.json();
        assert_eq!(answer.header("Location"), Some(&*path("tasks", &task)));
        assert_eq!(task["task_name"], "tasks.calls:aggregate_calls");
        let done = wait_for(&mut client, &task, "completed");
        for time in ["received", "started", "completed"] {
            assert!(
                done[time].as_str().is_some_and(|time| time.ends_with('Z')),
                "{done}"
            );
        }
        assert_eq!(
            (&done["attempts"], &done["error_message"]),
            (&json!(1), &Value::Null)
        );

        let report = client.get(&path("report", &task)).json();
        assert_eq!(report["data"], json!([figures]));
        assert_eq!(report["correlation_id"], correlation_id);
        assert_eq!(
            (&report["task_from"], &report["task_to"]),
            (&json!("client_api"), &json!("client"))
        );
        assert_eq!(report["received"], done["received"]);
        for seconds in ["total_duration", "queue_wait"] {
            assert!(
                report[seconds]
                    .as_f64()
                    .is_some_and(|seconds| (0.0..30.0).contains(&seconds))
            );
        }
    }
}

#[test]
fn a_period_is_answered_from_the_calls_and_a_phone_that_never_called_has_zeros() {
    let database = Database::new();
    load_phone_7(&database);
    let (api, _raw) = (api(&database), worker(&database, &["--raw"]));
    let mut client = api.client();
    let wanted = json!({
        "numbers": [8, 7], "from": "1970-01-01T00:00:50Z", "to": "1970-01-01T00:01:40Z"
    });
    let task = request_report(&mut client, &wanted);
    wait_until_ended(&mut client, &task);
    let data = &client.get(&path("report", &task)).json()["data"];
    assert_eq!(
        (&data[0]["phone"], &data[0]["known"]),
        (&json!(8), &json!(false))
    );
    assert_eq!(data[0]["avg_dur_att"], Value::Null);
    assert_eq!(
        (&data[1]["cnt_all_attempts"], &data[1]["avg_dur_att"]),
        (&json!(1), &json!(20))
    );
}

#[test]
fn who_prefers_to_wait_is_answered_when_the_task_ends_or_the_time_is_over() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let task = request_report(&mut client, &json!({ "numbers": [7] }));
    let begun = Instant::now();
    let answer = client.request("GET", &path("tasks", &task), "Prefer: wait=1\r\n", b"");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(answer.header("Preference-Applied"), Some("wait=1"));
    assert_eq!(answer.json()["task_status"], "pending");

    let waiting = {
        let (mut client, task) = (api.client(), task.clone());
        std::thread::spawn(move || wait_until_ended(&mut client, &task))
    };
    let _worker = worker(&database, &[]);
    let done = waiting.join().expect("it does not panic");
    assert_eq!(done["task_status"], "completed");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn while_the_database_does_not_answer_nobody_is_kept_beyond_the_time_out_or_the_wait() {
    let database = Database::new();
    let options = ["--listen", "127.0.0.1:0", "--request-timeout", "2s"];
    let api = start("api", &database, &options);
    let task = request_report(&mut api.client(), &json!({ "numbers": [7] }));
    let mut locker = database.connect();
    locker
        .query_drop("LOCK TABLES tasks WRITE, jobs WRITE")
        .expect("the tables are there");
    std::thread::scope(|scope| {
        for (after_ms, header, max_seconds) in [
            (0, "", 2),
            (0, "Prefer: wait=4\r\n", 5),
            (300, "", 2),
            (700, "", 2),
            (1_300, "Prefer: wait=1\r\n", 2),
            (1_900, "", 2),
        ] {
            let (mut client, path) = (api.client(), path("tasks", &task));
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(after_ms));
                let begun = Instant::now();
                let answer = client.request("GET", &path, header, b"");
                assert_eq!(answer.status, 503, "{answer:?}");
                let took = begun.elapsed();
                let bound = Duration::from_secs(max_seconds) + Duration::from_millis(500);
                assert!(took < bound, "after {after_ms} ms: {took:?}");
            });
        }
    });
    locker.query_drop("UNLOCK TABLES").expect("it is up");
    let answer = api.client().get(&path("tasks", &task));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn who_is_held_is_answered_when_the_api_stops() {
    let database = Database::new();
    let mut api = api(&database);
    let mut client = api.client();
    let task = request_report(&mut client, &json!({ "numbers": [7] }));
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\n\r\n",
        path("tasks", &task)
    );
    let mut other = api.client();
    let mut wait_for_open = |count| {
        eventually("so many requests are open, including this one", || {
            other.metric("reports_requests_open") == count
        });
    };
    wait_for_open(1);
    client.send_raw(head.as_bytes());
    wait_for_open(2);
    api.terminate();
    assert_eq!(client.receive().json()["task_status"], "pending");
    assert_eq!(api.exit_status().code(), Some(0), "{}", api.log());
}

#[test]
fn without_a_report_the_conflict_says_how_the_task_stands() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let pending = request_report(&mut client, &json!({ "numbers": [1] }));
    let answer = client.get(&path("report", &pending));
    assert_eq!(
        (answer.status, answer.header("Retry-After")),
        (409, Some("1"))
    );
    assert_eq!(answer.json()["task_status"], "pending");

    let mut connection = database.connect();
    let claim = "UPDATE jobs SET attempt = 1, claimed_at = UTC_TIMESTAMP(6), available_at = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND";
    connection.query_drop(claim).expect("the table is there");
    let in_work = client.get(&path("tasks", &pending)).json();
    assert_eq!(
        (&in_work["task_status"], &in_work["attempts"]),
        (&json!("in_work"), &json!(1))
    );
    assert!(in_work["started"].is_string());
    assert_eq!(
        client.get(&path("report", &pending)).json()["task_status"],
        "in_work"
    );
    // The lease expires.
    connection
        .query_drop("UPDATE jobs SET available_at = UTC_TIMESTAMP(6)")
        .expect("the table is there");
    wait_for(&mut client, &pending, "pending");

    connection
        .query_drop("UPDATE jobs SET payload = 'no request', available_at = UTC_TIMESTAMP(6)")
        .expect("the table is there");
    let worker = worker(&database, &[]);
    let failed = wait_until_ended(&mut client, &pending);
    assert_eq!(failed["task_status"], "error");
    let answer = client.get(&path("report", &pending));
    assert_eq!((answer.status, answer.header("Retry-After")), (409, None));
    let problem = answer.json();
    assert_eq!(problem["task_status"], "error");
    let cause = failed["error_message"].as_str().expect("it has a cause");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(cause))
    );
    drop(worker);

    for unknown in [Uuid::now_v7().to_string(), "x".to_owned()] {
        for of in ["tasks", "report"] {
            let answer = client.get(&format!("/api/v1/{of}/{unknown}"));
            assert_eq!(answer.status, 404, "{answer:?}");
        }
    }
}

#[test]
fn a_cancelled_task_gets_no_report_and_one_that_has_ended_is_not_cancelled() {
    let database = Database::new();
    load_phone_7(&database);
    let api = api(&database);
    let mut client = api.client();
    let cancelled = request_report(&mut client, &json!({ "numbers": [7] }));
    let answer = client.request("DELETE", &path("tasks", &cancelled), "", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["task_status"], "cancelled");
    let _worker = worker(&database, &[]);
    let done = request_report(&mut client, &json!({ "numbers": [7] }));
    wait_until_ended(&mut client, &done);
    for (task, status) in [(&cancelled, "cancelled"), (&done, "completed")] {
        let answer = client.request("DELETE", &path("tasks", task), "", b"");
        assert_eq!(answer.status, 409, "{answer:?}");
        assert_eq!(answer.json()["task_status"], status);
        let answer = client.get(&path("report", task));
        assert_eq!(answer.status, if status == "completed" { 200 } else { 409 });
    }
    let unknown = format!("/api/v1/tasks/{}", Uuid::now_v7());
    assert_eq!(client.request("DELETE", &unknown, "", b"").status, 404);
}

fn list(client: &mut HttpClient, query: &str) -> Value {
    let answer = client.get(&format!("/api/v1/tasks?{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["statuses"].as_array().expect("it is a list");
    let id = |task: &Value| task["task_id"].as_str().map(str::to_owned);
    tasks.iter().filter_map(id).collect()
}

#[test]
fn pages_show_each_task_once_newest_first() {
    let database = Database::new();
    let api = api(&database);
    let mut client = api.client();
    let mut requested: Vec<_> = (0..45)
        .map(|number| request_report(&mut client, &json!({ "numbers": [number] })))
        .filter_map(|task| task["task_id"].as_str().map(str::to_owned))
        .collect();
    requested.reverse();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&mut client, &format!("limit=7{after}"));
        seen.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, requested);
    assert_eq!(ids(&list(&mut client, "")), requested[..20]);
    assert_eq!(ids(&list(&mut client, "limit=100")).len(), 45);
    assert_eq!(list(&mut client, "limit=45")["next"], Value::Null);
    let empty = list(&mut client, "status=&correlation_id=&limit=&after=");
    assert_eq!(ids(&empty), requested[..20]);
    for (query, status) in [
        ("limit=0", 422),
        ("limit=101", 422),
        ("limit=-1", 422),
        ("limit=99999999999999999999999", 422),
        ("limit=x", 400),
        ("limit=1.5", 400),
        ("status=done", 400),
        ("after=x", 400),
        ("other=1", 400),
        ("limit=1&limit=2", 400),
    ] {
        let answer = client.get(&format!("/api/v1/tasks?{query}"));
        assert_eq!(answer.status, status, "{query}: {answer:?}");
    }
}

#[test]
fn a_list_takes_tasks_of_one_status_or_one_name() {
    let database = Database::new();
    load_phone_7(&database);
    let api = api(&database);
    let mut client = api.client();
    let id = |task: &Value| task["task_id"].as_str().expect("it has one").to_owned();
    let done = request_report(
        &mut client,
        &json!({ "numbers": [7], "correlation_id": "12" }),
    );
    let first = worker(&database, &[]);
    wait_until_ended(&mut client, &done);
    drop(first);
    let cancelled = request_report(
        &mut client,
        &json!({ "numbers": [7], "correlation_id": 12 }),
    );
    client.request("DELETE", &path("tasks", &cancelled), "", b"");
    let claimed = request_report(
        &mut client,
        &json!({ "numbers": [7], "correlation_id": "a b" }),
    );
    let claim = "UPDATE jobs SET claimed_at = UTC_TIMESTAMP(6), available_at = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND";
    database
        .connect()
        .query_drop(claim)
        .expect("the table is there");
    let pending = request_report(
        &mut client,
        &json!({ "numbers": [7], "correlation_id": "\u{fc}" }),
    );
    for (query, expected) in [
        ("status=completed", &[&done][..]),
        ("status=cancelled", &[&cancelled]),
        ("status=in_work", &[&claimed]),
        ("status=pending", &[&pending]),
        ("status=error", &[]),
        ("correlation_id=12", &[&cancelled, &done]),
        ("correlation_id=12&status=completed", &[&done]),
        ("correlation_id=a+b", &[&claimed]),
        ("correlation_id=%C3%BC", &[&pending]),
        ("correlation_id=1", &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|task| id(task)).collect();
        assert_eq!(ids(&list(&mut client, query)), expected, "{query}");
    }
}

#[test]
fn a_request_that_is_repeated_with_its_key_gives_the_same_task() {
    let database = Database::new();
    let api = api(&database);
    let key = Uuid::new_v4();
    let header = format!("Idempotency-Key: {key}\r\n");
    let address = api.address();
    let send = |wanted: &Value, header: &str| {
        let body = wanted.to_string();
        HttpClient::connect(address).request("POST", "/api/v1/report", header, body.as_bytes())
    };
    let wanted = json!({ "numbers": [1, 2], "correlation_id": "x" });
    let answers = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| send(&wanted, &header)))
            .collect();
        let answers = senders
            .into_iter()
            .map(|sender| sender.join().expect("it does not panic"));
        answers
            .map(|answer| (answer.status, answer.json()["task_id"].to_string()))
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| *status == 202));
    for other in [
        json!({ "numbers": [2, 1], "correlation_id": "x" }),
        json!({ "numbers": [1, 2], "correlation_id": "y" }),
    ] {
        assert_eq!(send(&other, &header).status, 422);
    }
    for (header, status) in [
        ("Idempotency-Key: x\r\n".to_owned(), 400),
        (format!("{header}{header}"), 400),
        (String::new(), 202),
    ] {
        assert_eq!(send(&wanted, &header).status, status, "{header}");
    }
    let stored: (u64, u64) =
        database.rows("SELECT (SELECT COUNT(*) FROM tasks), (SELECT COUNT(*) FROM jobs)")[0];
    assert_eq!(stored, (2, 2));
}
