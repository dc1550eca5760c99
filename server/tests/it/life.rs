//! Start and stop, and why a server does not start.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};
use testbed::{Database, HttpClient, PATIENCE, Process, Replica, SetAtEnd, eventually};
use uuid::Uuid;

#[test]
fn numbers_go_on_after_a_restart() {
    let database = Database::new();
    for round in 0..3 {
        let mut replica = Replica::start(&database);
        let mut client = replica.client();
        for post in 0..5 {
            let reply = client.post("ann", "x");
            assert_eq!(reply.own_seq(), 5 * round + post + 1);
            assert_eq!(reply.own()["user_seq"], reply.own_seq());
        }
        replica.terminate();
        assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
        assert!(!replica.log().contains("WARN"), "{}", replica.log());
    }
    database.assert_in_order();
}

#[test]
fn after_sigterm_all_accepted_requests_are_answered() {
    let database = Database::new();
    let mut replica = Replica::start(&database);
    let holder = database.hold_the_lock();
    let mut clients: Vec<HttpClient> = (0..20).map(|_| replica.client()).collect();
    for client in &mut clients {
        client.send_post("ann", "x", "");
    }
    let mut other = replica.client();
    assert_eq!(other.get("/healthz").status, 200);
    database.wait_for_a_writer(None);
    replica.terminate();
    replica.wait_for_line("stopping");
    let refusal = other.post("bob", "too late");
    assert_eq!(
        (refusal.status, refusal.header("Connection")),
        (503, Some("close"))
    );
    let problem = refusal.json();
    let instance = problem["instance"].as_str().expect("a 503 has one");
    // Callers that were refused earlier may have caused this line, even before the one above.
    let cause = format!("the server stops instance={instance}");
    eventually("the cause is in the log", || replica.log().contains(&cause));
    assert!(
        TcpStream::connect(replica.address()).is_err(),
        "the port is closed"
    );
    drop(holder);
    let statuses: Vec<u16> = clients
        .iter_mut()
        .map(|client| client.receive().status)
        .collect();
    let stored = statuses.iter().filter(|&&status| status == 200).count();
    assert!(
        stored > 0 && statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
    assert_eq!(database.count(), stored as u64);
    database.assert_in_order();
}

#[test]
fn a_stop_under_load_loses_no_answered_message() {
    let database = Database::new();
    let mut replica = Replica::start(&database);
    let address = replica.address();
    let stop = AtomicBool::new(false);
    let answered: usize = std::thread::scope(|scope| {
        let _at_end = SetAtEnd(&stop);
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = HttpClient::connect(address);
                    let mut answered = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let key = Uuid::new_v4().to_string();
                        // The server may have ended before this thread got its turn.
                        let Ok(reply) = client.try_post_with_key("ann", "x", &key) else {
                            break;
                        };
                        if reply.status != 200 {
                            assert_eq!(reply.status, 503);
                            break;
                        }
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        eventually("some are stored", || database.count() > 100);
        replica.terminate();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("200 or 503"))
            .sum()
    });
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
    assert_eq!(database.count(), answered as u64);
    database.assert_in_order();
}

#[test]
fn a_server_that_is_open_to_the_network_warns() {
    let database = Database::new();
    for (listen, warns) in [
        ("127.0.0.1:0", false),
        ("[::1]:0", false),
        ("0.0.0.0:0", true),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
        let mut replica = Replica::run(
            command
                .args(["--listen", listen])
                .env("DATABASE_URL", database.url()),
        );
        replica.wait_for_line("ready address=");
        replica.terminate();
        assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
        assert_eq!(
            replica.log().contains("WARN open to the network"),
            warns,
            "{listen}"
        );
    }
}

fn assert_refuses_to_start(url: &str, options: &[&str], code: i32, expected: &str) {
    let mut replica = Replica::spawn(url, options);
    assert_eq!(
        replica.exit_status().code(),
        Some(code),
        "{}",
        replica.log()
    );
    let log = replica.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(expected), "{expected:?} is not in {last:?}");
    assert!(!log.contains("geheim"), "the password is in the log: {log}");
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let database = Database::new();
    let (address, query) = url_parts(&database);
    let in_use = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let in_use = in_use.local_addr().expect("it is bound").to_string();

    assert_refuses_to_start(
        "postgres://u:geheim@localhost/x",
        &[],
        2,
        "mysql://user:password@host:3306/name",
    );
    assert_refuses_to_start("mysql://u:geheim@localhost", &[], 2, "names no database");
    assert_refuses_to_start(
        "not a url with geheim",
        &[],
        2,
        "mysql://user:password@host:3306/name",
    );
    assert_refuses_to_start(
        &format!("mysql://nobody:geheim@{address}/x?{query}"),
        &[],
        1,
        "check user and password",
    );
    assert_refuses_to_start(
        "mysql://u:geheim@127.0.0.1:1/x",
        &["--startup-timeout", "500ms"],
        1,
        "no database at mysql://u:***@127.0.0.1:1/x",
    );
    let mut replica = Replica::run(
        std::process::Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--listen", &in_use])
            .env("DATABASE_URL", database.url()),
    );
    assert_eq!(replica.exit_status().code(), Some(3));
    assert!(
        replica
            .log()
            .contains(&format!("cannot listen on {in_use}")),
        "{}",
        replica.log()
    );
}

fn url_parts(database: &Database) -> (String, String) {
    let url = database.url();
    let (address, query) = url.split_once('?').expect("the harness adds one");
    let authority = address
        .trim_start_matches("mysql://")
        .split('/')
        .next()
        .unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    (host.to_owned(), query.to_owned())
}

#[test]
fn tables_of_another_engine_or_shape_are_refused() {
    for (ddl, expected) in [
        ("CREATE TABLE messages (id INT)", "not those of schema.sql"),
        (
            "CREATE TABLE counters (user VARCHAR(64) PRIMARY KEY, messages BIGINT, last_sent_at DATETIME(6), repeats BIGINT) ENGINE = MyISAM",
            "the engine of table counters is MyISAM",
        ),
    ] {
        let database = Database::new();
        let mut connection = database.connect();
        mysql::prelude::Queryable::query_drop(&mut connection, ddl).expect("the database is empty");
        let mut replica = Replica::spawn(&database.url(), &[]);
        assert_eq!(replica.exit_status().code(), Some(1));
        assert!(
            replica.log().contains(expected),
            "{expected:?} is not in {}",
            replica.log()
        );
    }
}

#[test]
fn a_server_waits_for_a_database_that_is_not_up_yet() {
    let database = Database::new();
    // Bound, so that no other process gets the port, and not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&free.into()).expect("a port is free");
    let closed = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket());
    let closed = closed.expect("it is bound");
    let mut replica = Replica::spawn(
        &format!("mysql://u:geheim@{closed}/x"),
        &["--startup-timeout", "1s"],
    );
    replica.wait_for_line("waiting for the database");
    assert_eq!(replica.exit_status().code(), Some(1));
    assert!(replica.log().contains("is it running"), "{}", replica.log());
    drop(database);
}

#[test]
fn a_server_whose_log_nobody_reads_any_more_goes_on_and_stops_in_order() {
    let database = Database::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .args(["--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", database.url())
        .stderr(Stdio::piped());
    let mut server = Process::start(&mut command).expect("the server's binary can be started");
    let log = server.child().stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ready")));
    drop(lines);
    server.terminate().expect("it runs");
    let status = server.wait_timeout(PATIENCE).expect("it is our child");
    assert_eq!(
        status.and_then(|status| status.code()),
        Some(0),
        "{status:?}"
    );
}
