//! Faults while messages are stored.

use std::sync::atomic::{AtomicBool, Ordering};

use mysql::prelude::Queryable;
use uuid::Uuid;

use crate::metrics::scrape;
use testbed::{Database, HostStatus, HttpClient, Replica, eventually, signal};

/// Queues a message from each of several clients while the writer waits for the lock, so that they go into one batch.
fn one_batch(database: &Database, replica: &Replica, texts: &[String]) -> Vec<HttpClient> {
    let holder = database.hold_the_lock();
    let mut first = replica.client();
    first.send_post("first", "first", "");
    database.wait_for_a_writer(None);
    let clients: Vec<HttpClient> = texts
        .iter()
        .map(|text| {
            let mut client = replica.client();
            client.send_post("ann", text, "");
            client
        })
        .collect();
    let all = texts.len().to_string();
    eventually("all wait for the next batch", || {
        scrape(replica)["queue_messages"] == all
    });
    drop(holder);
    assert_eq!(first.receive().status, 200);
    clients
}

#[test]
fn a_message_that_the_database_refuses_does_not_affect_the_others() {
    let database = Database::new();
    let replica = Replica::start(&database);
    database
        .connect()
        .query_drop("ALTER TABLE messages ADD CONSTRAINT refusal CHECK (text <> 'refuse me')")
        .expect("the table is there");
    let texts: Vec<String> = (0..20)
        .map(|index| {
            if index == 7 {
                "refuse me".to_owned()
            } else {
                format!("{index}")
            }
        })
        .collect();
    let mut clients = one_batch(&database, &replica, &texts);
    for (client, text) in clients.iter_mut().zip(&texts) {
        let reply = client.receive();
        if text == "refuse me" {
            assert_eq!(reply.status, 500);
            assert!(
                !String::from_utf8_lossy(&reply.body).contains("CONSTRAINT"),
                "the client sees no SQL"
            );
        } else {
            assert_eq!(reply.own()["text"], *text);
        }
    }
    assert_eq!(database.count(), 20);
    database.assert_in_order();
    let log = replica.log();
    let refused = log
        .lines()
        .find(|line| line.contains("the database refuses a batch"));
    let together = refused.is_some_and(|line| !line.contains("messages=1 "));
    assert!(
        together,
        "the message was not refused in a batch with others: {log}"
    );
}

/// From now on, every message whose text is LIKE this fails with this error.
fn refuse(database: &Database, text: &str, error: u16) {
    let signal = signal(error);
    database
        .connect()
        .query_drop(format!(
            "CREATE TRIGGER refusal BEFORE INSERT ON messages FOR EACH ROW
             BEGIN IF NEW.text LIKE '{text}' THEN {signal}; END IF; END"
        ))
        .expect("the table is there");
}

#[test]
fn after_an_unknown_error_of_all_messages_not_each_of_them_is_tried_alone() {
    let database = Database::new();
    let replica = Replica::start(&database);
    refuse(&database, "number %", 1105);
    let texts: Vec<String> = (0..100).map(|index| format!("number {index}")).collect();
    let mut clients = one_batch(&database, &replica, &texts);
    for client in &mut clients {
        let answer = client.receive();
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(database.count(), 1);
    let failures = &scrape(&replica)[r#"batch_failures_total{cause="unknown"}"#];
    assert_eq!(
        failures, "3",
        "that of the batch, and of two of its messages alone"
    );
}

#[test]
fn a_message_with_an_unknown_error_does_not_affect_the_others() {
    let database = Database::new();
    let replica = Replica::start(&database);
    refuse(&database, "refuse me", 1105);
    for bad in [0, 4, 9] {
        let text = |index| match index {
            index if index == bad => "refuse me".to_owned(),
            index => format!("{index}"),
        };
        let texts: Vec<String> = (0..10).map(text).collect();
        let mut clients = one_batch(&database, &replica, &texts);
        for (index, client) in clients.iter_mut().enumerate() {
            let expected = if index == bad { 503 } else { 200 };
            assert_eq!(client.receive().status, expected, "{index} of {bad}");
        }
    }
    assert_eq!(database.count(), 30);
    database.assert_in_order();
}

#[test]
fn a_connection_killed_in_mid_transaction_loses_and_doubles_nothing() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let holder = database.hold_the_lock();
    let mut clients: Vec<HttpClient> = (0..10).map(|_| replica.client()).collect();
    for client in &mut clients {
        client.send_post("ann", "x", "");
    }
    let mut writer = database.wait_for_a_writer(None);
    for _ in 0..3 {
        database
            .connect()
            .query_drop(format!("KILL {writer}"))
            .expect("the user may kill its connections");
        writer = database.wait_for_a_writer(Some(writer));
    }
    drop(holder);
    let mut seqs: Vec<u64> = clients
        .iter_mut()
        .map(|client| client.receive().own_seq())
        .collect();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=10));
    assert_eq!(database.count(), 10);
    database.assert_in_order();
}

#[test]
fn connections_killed_at_any_moment_under_load_lose_and_double_nothing() {
    let database = Database::new();
    let replicas = [Replica::start(&database), Replica::start(&database)];
    let done = AtomicBool::new(false);
    let (clients, posts) = (16, 60);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut connection = database.connect();
            let mut kills = 0;
            let mut next = 0;
            while !done.load(Ordering::Relaxed) {
                // Once per 20 stored messages, so that the replicas make progress however slow the machine is.
                if database.count() < next {
                    continue;
                }
                next = database.count() + 20;
                let ids: Vec<u64> = connection
                    .query(
                        "SELECT id FROM information_schema.processlist
                         WHERE db = DATABASE() AND id <> CONNECTION_ID()",
                    )
                    .expect("the list can be read");
                for id in ids {
                    // It may be gone by now.
                    kills += u32::from(connection.query_drop(format!("KILL {id}")).is_ok());
                }
            }
            kills
        });
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let address = replicas[number % 2].address();
                scope.spawn(move || {
                    let mut client = HttpClient::connect(address);
                    for post in 0..posts {
                        let own = client.post("ann", &format!("{number}/{post}")).own();
                        assert_eq!(own["text"], format!("{number}/{post}"));
                    }
                })
            })
            .collect();
        let ends: Vec<_> = threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        for end in ends {
            end.expect("every message is answered with 200");
        }
        let kills = killer.join().expect("the killer does not fail");
        assert!(kills > 5, "only {kills} connections were killed");
    });
    assert_eq!(database.count(), (clients * posts) as u64);
    assert_eq!(
        database.rows::<u64>("SELECT COUNT(DISTINCT text) FROM messages"),
        [(clients * posts) as u64]
    );
    database.assert_in_order();
}

#[test]
fn a_lock_that_is_not_free_in_time_is_waited_for_again() {
    let database = Database::new();
    // The wait for the lock times out after half of the database's time-out, on MySQL up to a second later.
    let options = ["--request-timeout", "60s", "--database-timeout", "8s"];
    let replica = Replica::start_with(&database, &options);
    let holder = database.hold_the_lock();
    let mut client = replica.client();
    client.send_post("ann", "patient", "");
    replica.wait_for_line("ERROR 1205");
    drop(holder);
    assert_eq!(client.receive().own_seq(), 1);
    database.assert_in_order();
}

#[test]
fn a_writer_that_loses_in_a_deadlock_tries_again() {
    let database = Database::new();
    // Only the deadlock ends the wait for the lock.
    let options = ["--request-timeout", "60s", "--database-timeout", "60s"];
    let replica = Replica::start_with(&database, &options);
    let mut client = replica.client();
    client.post("ann", "first");
    let mut other = database.connect();
    let mut run = |sql: &str| other.query_drop(sql).expect("the writer is the victim");
    // InnoDB rolls back the transaction that has written less, so this one writes much.
    run("CREATE TABLE weight (id INT) ENGINE = InnoDB");
    run("BEGIN");
    run(&format!(
        "INSERT INTO weight VALUES {}",
        ["(1)"; 1000].join(",")
    ));
    run("SELECT messages FROM counters WHERE user = 'ann' FOR UPDATE");
    client.send_post("ann", "second", "");
    database.wait_until_the_lock_is_held();
    run("SELECT messages FROM counters WHERE user = '' FOR UPDATE");
    replica.wait_for_line("ERROR 1213");
    run("ROLLBACK");
    assert_eq!(client.receive().own_seq(), 2);
    database.assert_in_order();
}

#[test]
fn a_message_that_waits_too_long_for_the_lock_is_refused_and_not_stored() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &["--request-timeout", "5s", "--database-timeout", "2s"],
    );
    let holder = database.hold_the_lock();
    let reply = replica.client().post("ann", "too late");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.header("Retry-After"), Some("1"));
    drop(holder);
    assert_eq!(replica.client().post("ann", "in time").own_seq(), 1);
    assert_eq!(database.count(), 1);
}

/// A request times out after few attempts.
const SHORT_REQUEST_TIMEOUT: [&str; 2] = ["--request-timeout", "3s"];

#[test]
fn an_error_before_commit_shows_whether_a_message_is_certainly_not_stored() {
    let database = Database::new();
    let replica = Replica::start_with(&database, &SHORT_REQUEST_TIMEOUT);
    let mut client = replica.client();
    let mut admin = database.connect();
    let mut run = |sql: &str| admin.query_drop(sql).expect("the statement is right");
    // The last two may come from a proxy that lost its connection to the database, and with it the answer to COMMIT.
    for (table, error, status) in [
        ("messages", 1114, 503),
        ("counters", 1114, 503),
        ("messages", 1290, 504),
        ("messages", 2013, 504),
    ] {
        let signal = signal(error);
        run(&format!(
            "CREATE TRIGGER failure BEFORE INSERT ON {table} FOR EACH ROW {signal}"
        ));
        let answer = client.post("ann", "x");
        assert_eq!(answer.status, status, "{error} of {table}: {answer:?}");
        run("DROP TRIGGER failure");
        assert_eq!(database.count(), 0);
    }
    assert_eq!(client.post("ann", "x").own_seq(), 1);
}

#[test]
fn an_error_of_commit_itself_leaves_open_whether_a_message_is_stored() {
    let database = Database::new();
    let host = database.proxy();
    let replica = Replica::start_at(&host.url(), &SHORT_REQUEST_TIMEOUT);
    let mut client = replica.client();
    assert_eq!(client.post("ann", "first").own_seq(), 1);
    host.set(HostStatus::Full);
    let key = Uuid::new_v4().to_string();
    let answer = client.post_with_key("ann", "second", &key);
    assert_eq!(answer.status, 504, "{answer:?}");
    host.set(HostStatus::TakesWrites);
    assert_eq!(client.post_with_key("ann", "second", &key).own_seq(), 2);
    database.assert_in_order();
}

#[test]
fn the_date_is_that_of_storing_and_not_of_waiting_for_the_lock() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut holder = database.hold_the_lock();
    let mut client = replica.client();
    client.send_post("ann", "x", "");
    database.wait_for_a_writer(None);
    let now: Option<String> = holder
        .query_first("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")
        .expect("the connection is up");
    drop(holder);
    let sent_at = client.receive().own()["sent_at"]
        .as_str()
        .expect("a string")
        .to_owned();
    assert!(
        Some(&sent_at) >= now.as_ref(),
        "stored at {sent_at}, but still waiting at {now:?}"
    );
}

#[test]
fn a_date_never_goes_back_even_if_the_clock_does() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    client.post("ann", "x");
    database
        .connect()
        .query_drop("UPDATE counters SET last_sent_at = '2099-01-01 00:00:00.123456'")
        .expect("the table is there");
    for _ in 0..2 {
        assert_eq!(
            client.post("ann", "y").own()["sent_at"],
            "2099-01-01T00:00:00.123456Z"
        );
    }
    database.assert_in_order();
}
