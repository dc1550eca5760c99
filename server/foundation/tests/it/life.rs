//! Start and stop of a service.

use std::net::{TcpListener, TcpStream};

use mysql::Conn;
use testbed::{Database, HttpClient, Replica};

use crate::harness::{
    assert_problem, lock_note, note_text, notes, start, store_request, wait_for_writers,
};

/// A service that was asked to end while it stores a note.
struct Stopping {
    replica: Replica,
    /// Waits for its note to be stored.
    writer: HttpClient,
    /// Holds the lock for which `writer` waits.
    holder: Conn,
    /// Connected before the stop.
    other: HttpClient,
}

impl Stopping {
    fn on(database: &Database) -> Self {
        let replica = start(database);
        let holder = lock_note(database, "a");
        let (mut writer, mut other) = (replica.client(), replica.client());
        assert_eq!(other.get("/healthz").status, 200);
        writer.send_raw(&store_request("a", "taken"));
        wait_for_writers(database, 1);
        replica.terminate();
        replica.wait_for_line("stopping");
        Self {
            replica,
            writer,
            holder,
            other,
        }
    }

    fn finish(mut self) -> (Replica, u16) {
        drop(self.holder);
        let answer = self.writer.receive();
        let status = self.replica.exit_status();
        assert_eq!(status.code(), Some(0), "{}", self.replica.log());
        (self.replica, answer.status)
    }
}

#[test]
fn sigterm_lets_accepted_requests_finish_and_the_exit_status_is_0() {
    let database = Database::new();
    let (replica, answered) = Stopping::on(&database).finish();
    assert_eq!(answered, 200, "{}", replica.log());
    assert_eq!(database.rows::<String>("SELECT text FROM notes"), ["taken"]);
}

#[test]
fn a_service_that_stops_accepts_no_more_connections() {
    let database = Database::new();
    let stopping = Stopping::on(&database);
    assert!(TcpStream::connect(stopping.replica.address()).is_err());
    stopping.finish();
}

#[test]
fn a_service_that_stops_refuses_writes_and_names_the_line_of_the_log() {
    let database = Database::new();
    let mut stopping = Stopping::on(&database);
    stopping.other.send_raw(&store_request("b", "too late"));
    let refusal = stopping.other.receive();
    assert_problem(&refusal, 503, "shutting down");
    assert_eq!(refusal.header("Connection"), Some("close"));
    let instance = refusal.json()["instance"].to_string();
    let (replica, _) = stopping.finish();
    let cause = format!("the server stops instance={}", instance.trim_matches('"'));
    assert!(replica.log().contains(&cause), "{}", replica.log());
    assert_eq!(database.rows::<String>("SELECT name FROM notes"), ["a"]);
}

#[test]
fn a_service_that_stops_still_answers_reads() {
    let database = Database::new();
    let mut stopping = Stopping::on(&database);
    let answer = stopping.other.get("/notes/b");
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (404, Some("close"))
    );
    stopping.finish();
}

#[test]
fn a_service_that_stops_is_not_ready() {
    let database = Database::new();
    let mut stopping = Stopping::on(&database);
    assert_problem(&stopping.other.get("/readyz"), 503, "shutting down");
    stopping.finish();
}

#[test]
fn notes_are_there_after_a_restart() {
    let database = Database::new();
    let (first, _) = Stopping::on(&database).finish();
    drop(first);
    let replica = start(&database);
    let mut client = replica.client();
    assert_eq!(note_text(&mut client, "/notes/a"), "taken");
}

/// Fails unless the process ends with this exit status, and the last line of its log contains `expected`.
#[track_caller]
fn assert_ends(command: &mut std::process::Command, code: i32, expected: &str) {
    let mut replica = Replica::run(command);
    let status = replica.exit_status();
    let log = replica.log();
    assert_eq!(status.code(), Some(code), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(expected), "{expected:?} is not in {last:?}");
    assert!(!log.contains("geheim"), "the password is in the log: {log}");
}

#[test]
fn a_second_service_on_the_same_port_ends_with_3() {
    let database = Database::new();
    let first = start(&database);
    let address = first.address().to_string();
    let expected = format!("cannot listen on {address}");
    assert_ends(
        notes(&database.url()).args(["--listen", &address]),
        3,
        &expected,
    );
}

#[test]
fn a_service_with_a_wrong_database_url_ends_with_2() {
    for url in [
        "postgres://u:geheim@localhost/x",
        "mysql://u:geheim@localhost",
        "not a url with geheim",
    ] {
        assert_ends(&mut notes(url), 2, "mysql://user:password@host:3306/name");
    }
}

#[test]
fn a_service_with_a_wrong_option_ends_with_2() {
    let expected = "For more information";
    assert_ends(
        notes("mysql://u@h/x").arg("--request-timeout=0s"),
        2,
        expected,
    );
}

#[test]
fn a_service_whose_database_does_not_come_up_ends_with_1() {
    // Connections to it are opened, and receive nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = silent.local_addr().expect("it is bound");
    let url = format!("mysql://u:geheim@{address}/x");
    let options = ["--startup-timeout=1s", "--connect-timeout=500ms"];
    assert_ends(
        notes(&url).args(options),
        1,
        "no database at mysql://u:***@",
    );
}
