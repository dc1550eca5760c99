//! Kills each process, and the database, under load: what was shown is kept, nothing is shown twice, all is answered. `chat
//! load` checks this: its clients reconnect, resume, and send unacknowledged messages again.

use std::process::Stdio;

use testbed::{
    Database, OwnDatabase, PATIENCE, Process, Replica, eventually, program, skip, stable_address,
};

use crate::harness::{messager, web, web_again, worker};

/// New messages that show that the load makes progress.
const PROGRESS: u64 = 20;

/// Starts a load that sends until it is terminated.
fn load(webs: &[&Replica]) -> Process {
    let mut command = program("chat").expect("tests of the package build it");
    command.args([
        "load",
        "--sockets",
        "20",
        "--rate",
        "10",
        "--duration",
        "10m",
    ]);
    command.args(["--patience", "60s", "--proof-every", "5"]);
    command.args(webs.iter().map(|web| format!("http://{}", web.address())));
    Process::start(command.stdout(Stdio::null())).expect("it can be started")
}

/// Waits until more messages are stored.
fn wait_for_progress(database: &Database) {
    let count = || database.rows::<u64>("SELECT COUNT(*) FROM messages")[0];
    let before = count();
    eventually("the load goes on", || count() >= before + PROGRESS);
}

#[test]
fn whatever_is_killed_under_load_nothing_is_lost_or_shown_twice_and_all_is_answered() {
    let Some(mut server) = OwnDatabase::start() else {
        skip("there is no database server's program");
        return;
    };
    let database = Database::of(&server);
    let address = stable_address();
    let (mut here, there) = (web_again(&database, address), web(&database));
    let (mut answering, mut proving) = (messager(&database), worker(&database));
    let mut load = load(&[&here, &there]);
    wait_for_progress(&database);
    here.kill();
    here = web_again(&database, address);
    wait_for_progress(&database);
    answering.kill();
    answering = messager(&database);
    wait_for_progress(&database);
    proving.kill();
    proving = worker(&database);
    wait_for_progress(&database);
    server.process().and_then(Process::kill).expect("it runs");
    server.start().expect("it comes up again");
    wait_for_progress(&database);
    load.terminate().expect("it runs");
    let status = load.wait_timeout(4 * PATIENCE).expect("it is our child");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    drop((here, there, answering, proving));
}
