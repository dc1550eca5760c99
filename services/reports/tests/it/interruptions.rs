//! A load that is killed, one that runs twice at once, and one whose database dies: every call is stored once.

use std::process::{Command, Stdio};

use mysql::prelude::Queryable;
use testbed::{Database, OwnDatabase, Process, eventually};

use crate::harness::{assert_valid, count, load, noted, reports, run, stored};

/// 30,000 calls in some 43 chunks.
const OPTIONS: [&str; 4] = ["--generate", "20x1500", "--chunk-calls", "700"];
const CALLS: u64 = 30_000;

fn loading(database: &Database) -> Command {
    let mut command = reports("load", database);
    command
        .args(OPTIONS)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// How far the load is, and that of the tables; 0 while nobody can say.
fn position(database: &Database) -> u64 {
    let asked = database
        .try_connect()
        .and_then(|mut connection| connection.query_first("SELECT MAX(next_position) FROM loads"));
    asked.ok().flatten().flatten().unwrap_or(0)
}

/// Fails unless the database holds what a load without any interruption stores.
#[track_caller]
fn assert_loaded_once(database: &Database) {
    let undisturbed = Database::new();
    load(&undisturbed, &OPTIONS, "");
    assert_eq!(count(database), CALLS);
    assert!(stored(database) == stored(&undisturbed), "the calls differ");
    assert!(
        noted(database) == noted(&undisturbed),
        "the durations differ"
    );
    assert_valid(database);
}

#[test]
fn a_load_that_is_killed_again_and_again_stores_every_call_once() {
    let database = Database::new();
    let mut kills = 0;
    while position(&database) != CALLS {
        let before = position(&database);
        let mut process = Process::start(&mut loading(&database)).expect("it can be started");
        eventually("the load goes on, or ends", || {
            position(&database) > before + 1_400
                || process.status().expect("it is our child").is_some()
        });
        process.kill().expect("it runs, or has ended");
        kills += 1;
    }
    assert!(kills >= 5, "it was killed {kills} times only");
    load(&database, &OPTIONS, "");
    assert_loaded_once(&database);
}

#[test]
fn two_processes_with_the_same_load_store_every_call_once() {
    let database = Database::new();
    let mut second = Process::start(&mut loading(&database)).expect("it can be started");
    let first = run(reports("load", &database).args(OPTIONS), "");
    let second = second.end(testbed::PATIENCE).expect("it is our child");
    let statuses = [first.status, second.and_then(|status| status.code())];
    // Who comes too late ends, or finds that all is done.
    assert!(
        statuses
            .iter()
            .all(|status| [Some(0), Some(3)].contains(status)),
        "{statuses:?} {first:?}"
    );
    load(&database, &OPTIONS, "");
    assert_loaded_once(&database);
}

#[test]
fn a_load_whose_database_dies_goes_on_by_itself_and_stores_every_call_once() {
    let Some(mut own) = OwnDatabase::start() else {
        return;
    };
    load(own.database(), &["--generate", "1x1", "--id", "tables"], "");
    let mut process = Process::start(&mut loading(own.database())).expect("it can be started");
    for round in 1..=3_u64 {
        eventually("the load goes on, or ends", || {
            position(own.database()) > round * 5_000
                || process.status().expect("it is our child").is_some()
        });
        own.process().expect("it runs").kill().expect("it runs");
        own.start().expect("it starts again");
    }
    let status = process.end(testbed::PATIENCE).expect("it is our child");
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert_eq!(count(own.database()), CALLS + 1);
    assert_valid(own.database());
}
