//! What the operator sees: the log, and how it meets what callers are told.

use mysql::prelude::Queryable;

use crate::harness::{Answer, Database, Replica};

/// The line of the log that tells the cause of a 5xx.
fn cause(replica: &Replica, answer: &Answer) -> String {
    let problem = answer.json();
    let instance = problem["instance"].as_str().unwrap_or_default();
    assert!(instance.starts_with("urn:uuid:"), "{problem}");
    let log = replica.log();
    let line = log
        .lines()
        .find(|line| line.contains(&format!("instance={instance} ")));
    line.unwrap_or_else(|| panic!("{instance} is not in:\n{log}"))
        .to_owned()
}

#[test]
fn the_answer_to_a_failure_of_the_server_names_the_line_of_the_log_that_tells_the_cause() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &[
            "--request-timeout=500ms",
            "--database-timeout=2s",
            "--queue-messages=1",
            "--batch-messages=1",
        ],
    );
    let mut caller = replica.caller();
    database
        .connect()
        .query_drop("ALTER TABLE messages ADD CONSTRAINT refusal CHECK (text <> 'refuse me')")
        .expect("the table is there");
    let refused = caller.post("ann", "refuse me");
    assert_eq!(refused.status, 500);
    assert!(cause(&replica, &refused).contains("the database refuses"));

    let holder = database.hold_the_lock();
    caller.send_post("ann", "waits for the lock", "");
    database.wait_for_a_writer(None);
    let mut second = replica.caller();
    second.send_post("ann", "waits in the queue", "");
    second.send_post("ann", "has no place in it", "");
    for (answer, said) in [
        (caller.receive(), "Lock wait timeout"),
        (second.receive(), "waited too long"),
        (second.receive(), "the queue is full"),
    ] {
        assert_eq!(answer.status, 503);
        let line = cause(&replica, &answer);
        assert!(line.contains(said), "{line}");
    }
    drop(holder);

    let malformed = caller.post("", "x");
    assert_eq!(malformed.json().get("instance"), None, "the caller's own");
}
