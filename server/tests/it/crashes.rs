//! Processes that are killed, frozen and restarted under load. Nothing that was answered is missing afterwards, and nothing
//! that was repeated is there twice.

use std::time::Duration;

use testbed::{
    Action, Database, Exchange, Load, OwnDatabase, PATIENCE, Part, Replica, assert_promises,
};

const CLIENTS: usize = 16;
/// Messages after which a load is well under way.
const SOME_MESSAGES: usize = 100;

/// Every message was answered in the end, so the tables contain the messages of the replies and no others.
fn assert_kept(database: &Database, exchanges: &[Exchange]) {
    assert_promises(exchanges);
    assert_eq!(database.count(), exchanges.len() as u64);
    database.assert_in_order();
}

#[test]
fn a_replica_killed_under_load_and_started_again_loses_nothing() {
    let database = Database::new();
    let mut replicas = [Replica::start(&database), Replica::start(&database)];
    let load = Load::start(&replicas, CLIENTS);
    for round in 0..4 {
        let index = round % 2;
        load.wait_for_answers(SOME_MESSAGES);
        replicas[index].kill();
        load.wait_for_answers(SOME_MESSAGES);
        replicas[index] = Replica::start(&database);
        load.set_address(index, &replicas[index]);
    }
    load.wait_for_answers(SOME_MESSAGES);
    assert_kept(&database, &load.finish());
}

#[test]
fn a_rolling_restart_of_all_replicas_under_load_loses_nothing() {
    let database = Database::new();
    let mut replicas = [Replica::start(&database), Replica::start(&database)];
    let load = Load::start(&replicas, CLIENTS);
    for index in [0, 1] {
        load.wait_for_answers(SOME_MESSAGES);
        replicas[index].terminate();
        assert_eq!(replicas[index].exit_status().code(), Some(0));
        replicas[index] = Replica::start(&database);
        load.set_address(index, &replicas[index]);
    }
    load.wait_for_answers(SOME_MESSAGES);
    assert_kept(&database, &load.finish());
}

#[test]
fn a_replica_frozen_while_it_holds_the_lock_stops_the_other_for_a_bounded_time() {
    // The database ends a session that holds the lock after half of the database time-out, in whole seconds, of silence.
    let bound = Duration::from_secs(2);
    let options = ["--database-timeout=4s", "--request-timeout=60s"];
    let database = Database::new();
    let proxy = database.proxy();
    let frozen = Replica::start_at(&proxy.url(), &options);
    let other = Replica::start_with(&database, &options);
    let mut client = frozen.client();
    client.post("ann", "first");

    let locked = proxy.intercept(Part::Lock, Action::HoldReply);
    client.send_post("ann", "frozen with the lock", "");
    assert!(locked.reached(PATIENCE));
    frozen.freeze();
    locked.release();
    let start = std::time::Instant::now();
    let reply = other.client().post("bob", "goes on");
    let waited = start.elapsed();
    assert_eq!(reply.own_seq(), 2);
    // The slack is for a loaded machine.
    assert!(waited < bound + Duration::from_secs(15), "{waited:?}");

    frozen.thaw();
    assert_eq!(client.receive().own_seq(), 3);
    assert_eq!(other.client().post("bob", "after that").own_seq(), 4);
    assert_eq!(database.count(), 4);
    database.assert_in_order();
}

#[test]
fn a_database_killed_under_load_and_started_again_has_all_that_was_answered() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replicas = [
        Replica::start(server.database()),
        Replica::start(server.database()),
    ];
    let load = Load::start(&replicas, CLIENTS);
    for _ in 0..2 {
        load.wait_for_answers(SOME_MESSAGES);
        let process = server.process().expect("it runs");
        process.kill().expect("it runs");
        server.start().expect("it starts again");
    }
    load.wait_for_answers(SOME_MESSAGES);
    assert_kept(server.database(), &load.finish());
}

#[test]
fn a_frozen_database_holds_up_clients_and_loses_nothing() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    // Shorter than the freeze, so that connections are given up while statements are in flight.
    let option = ["--database-timeout", "2s"];
    let replicas = [
        Replica::start_with(server.database(), &option),
        Replica::start_with(server.database(), &option),
    ];
    let load = Load::start(&replicas, CLIENTS);
    load.wait_for_answers(SOME_MESSAGES);
    let process = server.process().expect("it runs");
    process.freeze().expect("it runs");
    std::thread::sleep(Duration::from_secs(5));
    process.thaw().expect("it runs");
    load.wait_for_answers(SOME_MESSAGES);
    assert_kept(server.database(), &load.finish());
}
