//! Files that were loaded in part, and are loaded again: completed, corrected or otherwise changed.

use std::fs;
use std::path::Path;

use testbed::Database;

use crate::harness::{
    Call, Output, array, assert_valid, count, file, lines, load, reports, run, stored,
};

const CALLS: [Call; 5] = [
    (7, 1_000, 2_000),
    (7, 1_000, 2_000),
    (7, 5_000, 5_001),
    (8, 0, 4_294_967_295),
    (9, 3, 3),
];

fn load_file(database: &Database, path: &Path, options: &[&str]) -> Output {
    let mut command = reports("load", database);
    command.arg(path).args(["--chunk-calls", "2"]).args(options);
    run(&mut command, "")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("there is space");
}

#[test]
fn a_file_that_is_completed_is_gone_on_with_under_whatever_name() {
    let whole = array(&CALLS);
    let rows = lines(&CALLS);
    for (cut, whole, status) in [
        (&whole[..whole.len() - 10], &whole, 3),
        (&rows[..rows.len() - 10], &rows, 0),
    ] {
        for options in [&[][..], &["--id", "x"]] {
            let database = Database::new();
            let (_folder, path) = file(cut);
            let output = load_file(&database, &path, options);
            assert_eq!(
                (output.status, count(&database)),
                (Some(status), 4),
                "{output:?}"
            );
            let (_folder, other) = file(whole);
            for path in [&path, &other] {
                write(path, whole);
                let output = load_file(&database, path, options);
                assert_eq!(output.status, Some(0), "{output:?}");
                assert_eq!(stored(&database), CALLS);
            }
            assert_valid(&database);
            // The part that was loaded first is refused, not loaded again.
            write(&path, cut);
            let output = load_file(&database, &path, options);
            assert_eq!(output.status, Some(2), "{output:?}");
            assert_eq!(stored(&database), CALLS);
        }
    }
}

#[test]
fn a_file_that_is_corrected_behind_what_was_loaded_is_gone_on_with() {
    let database = Database::new();
    let rows = lines(&CALLS);
    let last = rows.trim_end().rfind('\n').expect("there are several") + 1;
    let (_folder, path) = file(&format!("{}{{}}\n{}", &rows[..last], &rows[last..]));
    let strict = load_file(&database, &path, &["--strict"]);
    assert_eq!(
        (strict.status, count(&database)),
        (Some(1), 4),
        "{strict:?}"
    );
    write(&path, &rows);
    let output = load_file(&database, &path, &["--strict"]);
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(output.out.contains("4 were loaded before"), "{output:?}");
    assert_eq!(stored(&database), CALLS);
    assert_valid(&database);
}

#[test]
fn a_file_that_has_grown_is_loaded_from_where_it_ended() {
    let database = Database::new();
    let rows = lines(&CALLS);
    let (_folder, path) = file(&lines(&CALLS[..3]));
    for (options, before) in [(&[][..], 0), (&["--id", "x"], 5)] {
        write(&path, &lines(&CALLS[..3]));
        let output = load_file(&database, &path, options);
        assert_eq!(
            (output.status, count(&database)),
            (Some(0), before + 3),
            "{output:?}"
        );
        write(&path, &rows);
        for _ in 0..2 {
            let output = load_file(&database, &path, options);
            assert_eq!(
                (output.status, count(&database)),
                (Some(0), before + 5),
                "{output:?}"
            );
        }
    }
    // An array can only grow by white space.
    write(&path, &array(&CALLS));
    for (more, status) in [("", 0), (" \n", 0), ("[]", 3)] {
        write(&path, &(array(&CALLS) + more));
        let output = load_file(&database, &path, &[]);
        assert_eq!(
            (output.status, count(&database)),
            (Some(status), 15),
            "{more:?} {output:?}"
        );
    }
    assert_valid(&database);
}

#[test]
fn a_file_that_has_grown_is_loaded_to_its_end_also_after_a_run_that_stored_nothing_of_it() {
    let database = Database::new();
    let (_folder, path) = file(&lines(&CALLS[..3]));
    assert_eq!(load_file(&database, &path, &[]).status, Some(0));
    write(
        &path,
        &format!("{}{{}}\n{}", lines(&CALLS[..3]), lines(&CALLS[3..])),
    );
    for (options, status, calls) in [(&["--strict"][..], 1, 3), (&[], 0, 5), (&[], 0, 5)] {
        let output = load_file(&database, &path, options);
        assert_eq!(
            (output.status, count(&database)),
            (Some(status), calls),
            "{output:?}"
        );
    }
    assert_eq!(stored(&database), CALLS);
    assert_valid(&database);
}

#[test]
fn what_does_not_begin_with_what_was_loaded_is_refused_and_the_choices_are_told() {
    let database = Database::new();
    let whole = array(&CALLS);
    let (_folder, path) = file(&whole[..whole.len() - 10]);
    assert_eq!(load_file(&database, &path, &[]).status, Some(3));
    // The same calls in another form, under the same name or another.
    write(&path, &lines(&CALLS));
    let (_folder, other) = file(&whole.replace(',', ", "));
    for path in [&path, &other] {
        let output = load_file(&database, path, &[]);
        assert_eq!(output.status, Some(2), "{output:?}");
        for message in ["has stored 4 calls, and is not finished", "--id NAME"] {
            assert!(output.err.contains(message), "{output:?}");
        }
    }
    let piped = run(reports("load", &database).arg("-"), &lines(&CALLS));
    assert_eq!((piped.status, count(&database)), (Some(2), 4), "{piped:?}");
    // Generated calls are not affected by an unfinished file.
    load(&database, &["--generate", "1x1"], "");
    let named = load_file(&database, &path, &["--id", "beside"]);
    assert_eq!((named.status, count(&database)), (Some(0), 10), "{named:?}");
    write(&path, &whole);
    let output = load_file(&database, &path, &[]);
    assert_eq!(
        (output.status, count(&database)),
        (Some(0), 11),
        "{output:?}"
    );
    load_file(&database, &other, &[]);
    assert_eq!(count(&database), 16, "nothing is unfinished any more");
    assert_valid(&database);
}

#[test]
fn a_name_is_not_gone_on_with_by_what_begins_otherwise() {
    let database = Database::new();
    let whole = array(&CALLS);
    let options = ["-", "--id", "x", "--chunk-calls", "2"];
    let cut = run(
        reports("load", &database).args(options),
        &whole[..whole.len() - 10],
    );
    assert_eq!(cut.status, Some(3), "{cut:?}");
    for other in [whole.replace('7', "6"), whole[..9].to_owned()] {
        let output = run(reports("load", &database).args(options), &other);
        assert_eq!(
            (output.status, count(&database)),
            (Some(2), 4),
            "{output:?}"
        );
        assert!(
            output.err.contains("load x has stored 4 calls"),
            "{output:?}"
        );
    }
    load(&database, &options, &whole);
    assert_eq!(stored(&database), CALLS);
}

#[test]
fn a_load_that_a_copy_which_is_cut_off_has_taken_over_is_taken_back() {
    let database = Database::new();
    let whole = array(&CALLS);
    let (_folder, path) = file(&whole);
    load_file(&database, &path, &[]);
    // As if the load had been killed after its first chunks.
    let (_folder, cut) = file(&whole[..whole.len() - 10]);
    let killed = Database::new();
    load_file(&killed, &cut, &[]);
    write(&path, &whole[..whole.len() - 5]);
    for (path, status) in [(&path, 3), (&cut, 3), (&path, 3)] {
        let output = load_file(&killed, path, &[]);
        assert_eq!(
            (output.status, count(&killed)),
            (Some(status), 4),
            "{output:?}"
        );
    }
    write(&path, &whole);
    assert_eq!(load_file(&killed, &path, &[]).status, Some(0));
    assert!(stored(&killed) == stored(&database));
}

#[test]
fn a_source_without_any_call_is_told_each_time() {
    let database = Database::new();
    let (_folder, path) = file("[[77,1000,2500],{}]");
    for _ in 0..2 {
        let output = load_file(&database, &path, &[]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.err.contains("no row is a call"), "{output:?}");
        assert_eq!(count(&database), 0);
    }
    // That load stored nothing that could be counted twice.
    let (_folder, path) = file(&array(&CALLS));
    assert_eq!(load_file(&database, &path, &[]).status, Some(0));
}
