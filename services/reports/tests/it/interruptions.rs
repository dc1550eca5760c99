//! A load that is killed, one that runs twice at once, and one whose database dies: every call is stored once.

use std::process::{Command, Stdio};

use mysql::prelude::Queryable;
use testbed::{Database, OwnDatabase, Process, eventually};

use crate::harness::{
    Call, array, assert_valid, count, file, lines, load, reports, run, stored, stored_durations,
};

/// Loaded in some 300 chunks.
const CALLS: u64 = 30_000;
const GENERATED: [&str; 4] = ["--generate", "20x1500", "--chunk-calls", "100"];

fn load_command(database: &Database, options: &[&str]) -> Command {
    let mut command = reports("load", database);
    command
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// How many calls the load has stored; 0 while that cannot be read.
fn loaded(database: &Database) -> u64 {
    let Ok(mut connection) = database.try_connect() else {
        return 0;
    };
    let calls = connection.query_first("SELECT MAX(calls) FROM loads");
    calls.ok().flatten().flatten().unwrap_or(0)
}

/// Fails unless the database has what a load without interruptions stores.
#[track_caller]
fn assert_loaded_once(database: &Database, options: &[&str]) {
    let uninterrupted = Database::new();
    load(&uninterrupted, options, "");
    assert_eq!(count(database), CALLS);
    assert!(
        stored(database) == stored(&uninterrupted),
        "the calls differ"
    );
    assert!(
        stored_durations(database) == stored_durations(&uninterrupted),
        "the durations differ"
    );
    assert_valid(database);
}

/// Kills the load after some chunks, and restarts it until it has stored all.
fn kill_repeatedly(options: &[&str]) {
    let database = Database::new();
    let mut kills = 0;
    while loaded(&database) != CALLS {
        let before = loaded(&database);
        let mut process =
            Process::start(&mut load_command(&database, options)).expect("it is built");
        eventually("the load goes on, or ends", || {
            loaded(&database) > before + 1_400
                || process.status().expect("it is our child").is_some()
        });
        process.kill().expect("it runs, or has ended");
        kills += 1;
    }
    assert!(kills >= 5, "it was killed {kills} times only");
    load(&database, options, "");
    assert_loaded_once(&database, options);
}

#[test]
fn a_generated_load_that_is_killed_again_and_again_stores_every_call_once() {
    kill_repeatedly(&GENERATED);
}

#[test]
fn a_file_whose_load_is_killed_again_and_again_is_stored_once() {
    let calls: Vec<Call> = (0..CALLS)
        .map(|index| (index % 20, index, index + index % 120_001))
        .collect();
    for text in [array(&calls), lines(&calls)] {
        let (_folder, path) = file(&text);
        let path = path.to_str().expect("it is ASCII");
        kill_repeatedly(&[path, "--chunk-calls", "100"]);
    }
}

#[test]
fn two_processes_with_the_same_load_store_every_call_once() {
    let database = Database::new();
    let mut second =
        Process::start(&mut load_command(&database, &GENERATED)).expect("it can be started");
    let first = run(reports("load", &database).args(GENERATED), "");
    let second = second
        .wait_timeout(testbed::PATIENCE)
        .expect("it is our child");
    let statuses = [first.status, second.and_then(|status| status.code())];
    // The later process exits with 3, or finds that all is loaded.
    assert!(
        statuses
            .iter()
            .all(|status| [Some(0), Some(3)].contains(status)),
        "{statuses:?} {first:?}"
    );
    load(&database, &GENERATED, "");
    assert_loaded_once(&database, &GENERATED);
}

#[test]
fn a_load_whose_database_dies_goes_on_by_itself_and_stores_every_call_once() {
    let Some(mut own) = OwnDatabase::start() else {
        return;
    };
    load(own.database(), &["--generate", "1x1", "--id", "tables"], "");
    let mut process =
        Process::start(&mut load_command(own.database(), &GENERATED)).expect("it can be started");
    for round in 1..=3_u64 {
        eventually("the load goes on, or ends", || {
            loaded(own.database()) > round * 5_000
                || process.status().expect("it is our child").is_some()
        });
        own.process().expect("it runs").kill().expect("it runs");
        own.start().expect("it starts again");
    }
    let status = process
        .wait_timeout(testbed::PATIENCE)
        .expect("it is our child");
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert_eq!(count(own.database()), CALLS + 1);
    assert_valid(own.database());
}
