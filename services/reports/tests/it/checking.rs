//! `reports check` finds differences.

use mysql::prelude::Queryable;
use testbed::Database;

use crate::harness::{load, reports, run, run_unread};

#[test]
fn each_kind_of_difference_is_found_and_named() {
    let database = Database::new();
    load(
        &database,
        &["-"],
        r#"[{"phone": 3, "start_date": 1, "end_date": 7}, {"phone": 5, "start_date": 1, "end_date": 1}]"#,
    );
    let valid = run(&mut reports("check", &database), "");
    assert_eq!(valid.status, Some(0), "{valid:?}");
    assert_eq!(
        valid.out,
        "valid: the durations of 2 phones are those of their 2 calls\n"
    );
    for (change, undo, expected) in [
        (
            "UPDATE call_durations SET calls = 2 WHERE phone = 3",
            "UPDATE call_durations SET calls = 1 WHERE phone = 3",
            "phone 3, 6 ms: 1 calls, and 2 are noted",
        ),
        (
            "DELETE FROM call_durations WHERE phone = 5",
            "INSERT INTO call_durations (phone, duration_ms, calls) VALUES (5, 0, 1)",
            "phone 5, 0 ms: 1 calls, and 0 are noted",
        ),
        (
            "INSERT INTO call_durations (phone, duration_ms, calls) VALUES (4, 9, 1)",
            "DELETE FROM call_durations WHERE phone = 4",
            "phone 4, 9 ms: 0 calls, and 1 are noted",
        ),
        (
            "INSERT INTO calls (phone, started_at, duration_ms) VALUES (6, 1, 2)",
            "DELETE FROM calls WHERE phone = 6",
            "phone 6, 2 ms: 1 calls, and 0 are noted",
        ),
    ] {
        let mut connection = database.connect();
        connection.query_drop(change).expect("the table is there");
        let output = run(&mut reports("check", &database), "");
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.out.starts_with(expected), "{output:?}");
        assert!(output.out.contains("INVALID: 1 differences"), "{output:?}");
        connection.query_drop(undo).expect("the table is there");
    }
    assert_eq!(run(&mut reports("check", &database), "").status, Some(0));
}

#[test]
fn a_command_whose_output_nobody_reads_ends_with_the_status_of_its_work() {
    let database = Database::new();
    let output = run_unread(reports("load", &database).args(["--quiet", "--generate", "2x3"]));
    assert_eq!(output.status, Some(0), "{output:?}");
    let output = run_unread(&mut reports("check", &database));
    assert_eq!(output.status, Some(0), "{output:?}");
    database
        .connect()
        .query_drop("UPDATE call_durations SET calls = calls + 1")
        .expect("the table is there");
    let output = run_unread(&mut reports("check", &database));
    assert_eq!((output.status, &*output.err), (Some(1), ""), "{output:?}");
}
