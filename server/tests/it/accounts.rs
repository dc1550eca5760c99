//! Database accounts with limits on connections and queries.

use mysql::Conn;

use crate::settings::{administer, assert_refused, own_server};
use testbed::{Replica, eventually};

/// Sets the resource limits of the replicas' account, in the syntax of ALTER USER.
fn set_limits(root: &mut Conn, limits: &str) {
    administer(root, &format!("ALTER USER dm@localhost WITH {limits}"));
}

#[test]
fn an_account_with_fewer_connections_than_a_replica_needs_is_refused_with_the_name_of_the_limit() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let mut root = server.connect().expect("it is up");
    for too_few in [1, 4] {
        set_limits(&mut root, &format!("MAX_USER_CONNECTIONS {too_few}"));
        assert_refused(server.database(), "max_user_connections");
    }
    set_limits(&mut root, "MAX_USER_CONNECTIONS 5");
    let replica = Replica::start(server.database());
    let mut client = replica.client();
    eventually("it is ready", || client.get("/readyz").status == 200);
    assert_eq!(client.post("ann", "x").own_seq(), 1);
}

#[test]
fn a_start_waits_while_the_account_has_used_up_its_connections() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    set_limits(
        &mut server.connect().expect("it is up"),
        "MAX_USER_CONNECTIONS 5",
    );
    let others: Vec<Conn> = (0..5).map(|_| database.connect()).collect();
    let mut replica = Replica::spawn(&database.url(), &[]);
    let cause = replica.wait_for_line("waiting for the database");
    assert!(cause.contains("max_user_connections"), "{cause}");
    drop(others);
    replica.wait_until_ready();
    assert_eq!(replica.client().post("ann", "x").own_seq(), 1);
}

#[test]
fn a_start_waits_while_the_account_has_used_up_its_questions_of_this_hour() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let mut root = server.connect().expect("it is up");
    set_limits(&mut root, "MAX_QUERIES_PER_HOUR 3");
    let mut replica = Replica::spawn(&server.database().url(), &[]);
    let cause = replica.wait_for_line("waiting for the database");
    // The errors of MySQL and of MariaDB both contain this.
    assert!(cause.contains("max_que"), "{cause}");
    set_limits(&mut root, "MAX_QUERIES_PER_HOUR 0");
    administer(&mut root, "FLUSH USER_RESOURCES");
    replica.wait_until_ready();
}

#[test]
fn a_replica_whose_writer_gets_no_connection_is_not_ready() {
    let Some(server) = own_server(&[]) else {
        return;
    };
    let database = server.database();
    set_limits(
        &mut server.connect().expect("it is up"),
        "MAX_USER_CONNECTIONS 5",
    );
    let replica = Replica::start_with(
        database,
        &["--connect-timeout=500ms", "--request-timeout=5s"],
    );
    let mut client = replica.client();
    // The remaining connection goes to a reader.
    let mut others: Vec<Conn> = (0..4).map(|_| database.connect()).collect();
    eventually("a reader has it", || client.get("/messages").status == 200);
    assert_eq!(client.post("ann", "x").status, 503);
    assert_eq!(client.get("/readyz").status, 503);
    others.pop();
    eventually("it is ready", || client.get("/readyz").status == 200);
    assert_eq!(client.post("ann", "x").own_seq(), 1);
}
