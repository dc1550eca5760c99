//! The database freezes: it keeps its connections, and answers nothing.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use testbed::{OwnDatabase, Replica, eventually};
use uuid::Uuid;

use crate::metrics::scrape;

/// The time-out of a request is much shorter than the database's.
const SHORT_REQUEST_TIMEOUT: [&str; 2] = ["--request-timeout=3s", "--database-timeout=30s"];
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Added for a loaded machine. Waiting for the time-out of the database would take longer.
const SLACK: Duration = Duration::from_secs(10);

#[test]
fn a_message_to_a_database_that_stays_frozen_is_answered_at_its_deadline() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &SHORT_REQUEST_TIMEOUT);
    let mut client = replica.client();
    let key = Uuid::new_v4().to_string();
    assert_eq!(client.post("ann", "before").own_seq(), 1);
    let process = server.process().expect("it runs");
    process.freeze().expect("it runs");
    let start = Instant::now();
    let answer = client.post_with_key("ann", "meanwhile", &key);
    let waited = start.elapsed();
    process.thaw().expect("it runs");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(waited < REQUEST_TIMEOUT + SLACK, "{waited:?}");
    // The attempt from before the freeze goes on, without the message.
    assert_eq!(client.post("ann", "after").own_seq(), 2);
    let repeated = client.post_with_key("ann", "meanwhile", &key);
    assert_eq!(repeated.own_seq(), 3, "it was not stored");
    server.database().assert_in_order();
}

#[test]
fn a_message_whose_transaction_is_frozen_is_answered_at_its_deadline_and_so_are_those_behind_it() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &SHORT_REQUEST_TIMEOUT);
    let (mut client, mut next) = (replica.client(), replica.client());
    let key = Uuid::new_v4().to_string();
    let mut root = server.connect().expect("it is up");
    let name = server.database().name().to_owned();
    let slow = format!(
        "CREATE TRIGGER {name}.slow BEFORE INSERT ON {name}.messages FOR EACH ROW SET @slept = SLEEP(6)"
    );
    root.query_drop(slow).expect("root may");
    let start = Instant::now();
    client.send_post(
        "ann",
        "in the middle",
        &format!("Idempotency-Key: {key}\r\n"),
    );
    eventually("it is in the middle of its transaction", || {
        let asleep =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'";
        root.query_first::<u8, _>(asleep)
            .expect("the list can be read")
            == Some(1)
    });
    let process = server.process().expect("it runs");
    process.freeze().expect("it runs");
    next.send_post("bob", "behind it", "");
    let sent_next = Instant::now();
    let (answer, waited) = (client.receive(), start.elapsed());
    let (answer_behind, waited_behind) = (next.receive(), sent_next.elapsed());
    process.thaw().expect("it runs");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(waited < REQUEST_TIMEOUT + SLACK, "{waited:?}");
    assert_eq!(answer_behind.status, 503, "{answer_behind:?}");
    assert!(waited_behind < REQUEST_TIMEOUT + SLACK, "{waited_behind:?}");
    root.query_drop(format!("DROP TRIGGER {name}.slow"))
        .expect("root may");
    assert_eq!(
        client.post_with_key("ann", "in the middle", &key).own_seq(),
        1,
        "stored once"
    );
    assert_eq!(
        client.post("ann", "after").own_seq(),
        2,
        "what was refused is not stored"
    );
    server.database().assert_in_order();
}

/// Starts a replica, and freezes its database while four connections for reading are idle, and one for writing.
fn on_a_frozen_database(server: &mut OwnDatabase, options: &[&str]) -> Replica {
    let replica = Replica::start_with(server.database(), options);
    assert_eq!(replica.client().post("ann", "before").own_seq(), 1);
    let mut holder = server.database().connect();
    holder
        .query_drop("LOCK TABLES messages WRITE")
        .expect("the table is there");
    let mut clients = [(); 4].map(|()| replica.client());
    for client in &mut clients {
        client.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    eventually("four pages are read at once", || {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                       WHERE info LIKE 'SELECT seq%' AND info NOT LIKE '%processlist%'";
        holder
            .query_first::<u8, _>(waiting)
            .expect("the list can be read")
            == Some(4)
    });
    drop(holder);
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(
        scrape(&replica)[r#"database_connections{pool="reading",state="idle"}"#],
        "4"
    );
    server
        .process()
        .expect("it runs")
        .freeze()
        .expect("it runs");
    replica
}

#[test]
fn readiness_on_a_frozen_database_is_denied_within_two_seconds_however_many_pages_wait() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let options = [
        "--workers=4",
        "--request-timeout=30s",
        "--database-timeout=30s",
    ];
    let replica = on_a_frozen_database(&mut server, &options);
    let mut pages = [(); 12].map(|()| replica.client());
    for page in &mut pages {
        page.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    let mut clients = [(); 8].map(|()| replica.client());
    let mut time_readiness = || {
        let start = Instant::now();
        for client in &mut clients {
            client.send_raw(b"GET /readyz HTTP/1.1\r\nHost: replica\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.receive().status, 503);
        }
        start.elapsed()
    };
    // Generous, for a loaded machine. One after the other they would take 12 s, and behind the pages 30 s.
    let waited = time_readiness();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    eventually("they are answered within two seconds", || {
        time_readiness() < Duration::from_secs(2)
    });
}

#[test]
fn a_page_of_a_frozen_database_is_answered_at_its_deadline() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &SHORT_REQUEST_TIMEOUT);
    let mut clients = [(); 6].map(|()| replica.client());
    let start = Instant::now();
    for client in &mut clients {
        client.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.receive().status, 503);
    }
    let waited = start.elapsed();
    assert!(waited < REQUEST_TIMEOUT + SLACK, "{waited:?}");
}

#[test]
fn a_stop_while_the_database_is_frozen_takes_no_longer_than_its_timeout() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let options = [
        "--shutdown-timeout=3s",
        "--request-timeout=3s",
        "--database-timeout=20s",
    ];
    let mut replica = on_a_frozen_database(&mut server, &options);
    let mut page = replica.client();
    page.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    // The writer checks its idle connection now and then, and blocks on it until the database's time-out: longer than a stop
    // may take.
    assert_eq!(page.receive().status, 503);
    assert_eq!(page.get("/readyz").status, 503);
    let start = Instant::now();
    replica.terminate();
    let status = replica.exit_status();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3) + SLACK, "{took:?}");
    assert_eq!(status.code(), Some(0), "{}", replica.log());
}

#[test]
fn a_database_that_thaws_is_read_from_again() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &SHORT_REQUEST_TIMEOUT);
    let mut clients = [(); 3].map(|()| replica.client());
    // More requests than there are connections.
    for _ in 0..2 {
        for client in &mut clients {
            client.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.receive().status, 503);
        }
    }
    let [mut client, ..] = clients;
    server.process().expect("it runs").thaw().expect("it runs");
    eventually("it is ready", || client.get("/readyz").status == 200);
    assert_eq!(client.get("/messages").own_seq(), 1);
}
