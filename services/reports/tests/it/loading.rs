//! What a load stores, and how it reports malformed rows.

use std::process::Command;

use mysql::prelude::Queryable;
use testbed::{Database, OwnDatabase};

use crate::harness::{
    Call, Output, array, assert_valid, count, file, lines, load, reports, run, stored,
    stored_durations,
};

const CALLS: [Call; 5] = [
    (7, 1_000, 2_000),
    (7, 1_000, 2_000),
    (7, 5_000, 5_001),
    (8, 0, 4_294_967_295),
    (1_000_000_000_000_000, 3, 3),
];

fn load_file(database: &Database, text: &str, options: &[&str]) -> Output {
    let (_folder, path) = file(text);
    run(reports("load", database).arg(path).args(options), "")
}

#[test]
fn an_array_and_lines_from_a_file_and_from_standard_input_are_stored_alike() {
    for text in [array(&CALLS), lines(&CALLS)] {
        for chunk in ["1", "2", "1000"] {
            let database = Database::new();
            let output = load_file(&database, &text, &["--chunk-calls", chunk]);
            assert_eq!(output.status, Some(0), "{output:?}");
            assert_eq!(stored(&database), CALLS);
            assert_valid(&database);
        }
        let database = Database::new();
        load(&database, &["-"], &text);
        assert_eq!(stored(&database), CALLS);
        assert_eq!(
            stored_durations(&database),
            [
                (7, 1, 1),
                (7, 1_000, 2),
                (8, 4_294_967_295, 1),
                (1_000_000_000_000_000, 0, 1)
            ]
        );
    }
}

#[test]
fn the_same_source_is_loaded_once_and_under_another_id_once_more() {
    let database = Database::new();
    let (_folder, path) = file(&array(&CALLS));
    let load = |options: &[&str]| run(reports("load", &database).arg(&path).args(options), "");
    let first = load(&[]);
    assert!(first.out.starts_with("5 calls loaded in "), "{first:?}");
    let second = load(&[]);
    assert_eq!(second.status, Some(0), "{second:?}");
    assert!(
        second.out.contains("is loaded already, 5 calls"),
        "{second:?}"
    );
    assert_eq!(count(&database), 5);
    assert_eq!(load(&["--id", "once more"]).status, Some(0));
    assert_eq!(count(&database), 10);
    assert_valid(&database);
}

#[test]
fn a_file_is_known_by_its_content_and_not_by_its_name_and_length() {
    let database = Database::new();
    for (text, count_after) in [
        (array(&[(1, 2, 3)]), 1),
        (array(&[(1, 2, 4)]), 2),
        (array(&[(1, 2, 3)]), 2),
    ] {
        let output = load_file(&database, &text, &[]);
        assert_eq!(output.status, Some(0), "{output:?}");
        assert_eq!(count(&database), count_after, "{output:?}");
    }
}

#[test]
fn a_load_does_not_go_on_with_another_source() {
    let database = Database::new();
    load(&database, &["--generate", "2x3", "--id", "x"], "");
    let output = run(
        reports("load", &database).args(["--generate", "2x4", "--id", "x"]),
        "",
    );
    assert_eq!(output.status, Some(2), "{output:?}");
    assert!(
        output
            .err
            .contains("2x3 generated calls of seed 1; this is 2x4"),
        "{output:?}"
    );
    assert_eq!(count(&database), 6);
}

#[test]
fn rows_that_are_no_calls_are_left_out_counted_and_told_with_their_place() {
    let database = Database::new();
    let good = lines(&CALLS[..1]);
    let text = format!("{good}{{\"phone\": \"7\"}}\n{good}nonsense\n{good}");
    let output = load(&database, &["-", "--chunk-calls", "2"], &text);
    assert!(
        output.out.contains("3 calls loaded") && output.out.contains("2 malformed rows left out"),
        "{output:?}"
    );
    let at = |row: usize| format!("at={row}");
    assert!(output.err.contains(&at(good.len())), "{output:?}");
    assert!(output.err.contains(&at(2 * good.len() + 15)), "{output:?}");
    assert!(output.err.contains("in a file of its own"), "{output:?}");
    assert_eq!(count(&database), 3);
    let loads: Vec<(u64, u64, u64)> =
        database.rows("SELECT calls, malformed, next_position FROM loads");
    assert_eq!(loads, [(3, 2, text.len() as u64)]);
}

#[test]
fn of_many_malformed_rows_the_first_are_told_and_all_are_counted() {
    let database = Database::new();
    let output = run(reports("load", &database).arg("-"), &"{}\n".repeat(1_000));
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(
        output.out.contains("1000 malformed rows left out"),
        "{output:?}"
    );
    assert_eq!(
        output.err.matches("missing field").count(),
        10,
        "{output:?}"
    );
}

#[test]
fn strict_ends_at_the_first_row_that_is_no_call_and_keeps_what_was_stored_before() {
    let database = Database::new();
    let good = lines(&CALLS[..1]);
    let text = format!("{good}{good}{good}{{}}\n{good}");
    let output = run(
        reports("load", &database).args(["-", "--strict", "--chunk-calls", "2"]),
        &text,
    );
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(
        output
            .err
            .contains(&format!("the row at byte {} is no call", 3 * good.len())),
        "{output:?}"
    );
    assert_eq!(count(&database), 2);
}

#[test]
fn an_array_that_is_cut_off_is_an_error_and_goes_on_when_it_is_complete() {
    let database = Database::new();
    let text = array(&CALLS);
    let cut = &text[..text.len() - 10];
    let options = ["-", "--id", "x", "--chunk-calls", "2"];
    let output = run(reports("load", &database).args(options), cut);
    assert_eq!(output.status, Some(3), "{output:?}");
    assert_eq!(count(&database), 4);
    load(&database, &options, &text);
    assert_eq!(stored(&database), CALLS);
    assert_valid(&database);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_stored() {
    let database = Database::new();
    for (options, status) in [
        (&["/nowhere/calls.json"][..], 3),
        (&[], 2),
        (&["-", "--generate", "1x1"], 2),
        (&["--generate", "0x1"], 2),
        (&["-", "--chunk-calls", "0"], 2),
        (&["-", "--id", ""], 2),
    ] {
        let output = run(reports("load", &database).args(options), "");
        assert_eq!(output.status, Some(status), "{options:?} {output:?}");
    }
    let unknown = run(
        Command::new(reports("load", &database).get_program()).args([
            "load",
            "-",
            "--database-url",
            "mysql://x",
        ]),
        "",
    );
    assert_eq!(unknown.status, Some(2), "{unknown:?}");
}

#[test]
fn a_server_that_takes_files_and_one_that_takes_none_store_the_same() {
    let mut tables = Vec::new();
    for (option, uses) in [("--local-infile=1", true), ("--local-infile=0", false)] {
        let Some(own) = OwnDatabase::start_with(|process| process.option(option)) else {
            return;
        };
        let database = own.database();
        load(
            database,
            &["--generate", "30x400", "--chunk-calls", "7000"],
            "",
        );
        let mut root = own.connect().expect("the database is up");
        let used: Option<(String, u64)> = root
            .query_first("SHOW GLOBAL STATUS LIKE 'Com_load'")
            .expect("the database is up");
        assert_eq!(used.map(|(_, count)| count > 0), Some(uses), "{option}");
        assert_valid(database);
        tables.push((stored(database), stored_durations(database)));
    }
    assert_eq!(tables[0].0.len(), 12_000);
    assert!(tables[0] == tables[1], "they differ");
}
