//! Each process, and the database, killed under load: what was shown stays, nothing is shown twice, all is answered. Judged
//! by `chat load`, whose clients come back, resume, and send again what they have not seen.

use std::process::Stdio;

use testbed::{
    Database, OwnDatabase, PATIENCE, Process, Replica, eventually, lasting_address, program, skip,
};

use crate::harness::{messager, web, web_again, worker};

/// Lines of the room after which a load is well under way, or again.
const SOME: u64 = 20;

/// Sends until it is asked to end.
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

/// Waits until more was said.
fn goes_on(database: &Database) {
    let said = || database.rows::<u64>("SELECT COUNT(*) FROM messages")[0];
    let before = said();
    eventually("the load goes on", || said() >= before + SOME);
}

#[test]
fn whatever_is_killed_under_load_nothing_is_lost_or_shown_twice_and_all_is_answered() {
    let Some(mut server) = OwnDatabase::start() else {
        skip("there is no database server's program");
        return;
    };
    let database = Database::of(&server);
    let address = lasting_address();
    let (mut here, there) = (web_again(&database, address), web(&database));
    let (mut answering, mut proving) = (messager(&database), worker(&database));
    let mut load = load(&[&here, &there]);
    goes_on(&database);
    here.kill();
    here = web_again(&database, address);
    goes_on(&database);
    answering.kill();
    answering = messager(&database);
    goes_on(&database);
    proving.kill();
    proving = worker(&database);
    goes_on(&database);
    server.process().and_then(Process::kill).expect("it runs");
    server.start().expect("it comes up again");
    goes_on(&database);
    load.terminate().expect("it runs");
    let status = load.end(4 * PATIENCE).expect("it is our child");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    drop((here, there, answering, proving));
}
