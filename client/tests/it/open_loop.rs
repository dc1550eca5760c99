//! The open loop: requests that are due at fixed times, and the open files that they need.

use serde_json::Value;

use crate::outputs::json;
use crate::program::{Ended, client_at, command, ended};
use crate::server::{Answer, Log, Post, Server, honest};

fn stalls_once(log: &mut Log, post: &Post) -> Answer {
    match post.number {
        0 => Answer::Stall,
        _ => honest(log, post),
    }
}

/// One coroutine with ten requests. The first is due at once and never answered; the last is due 90 ms later.
const ONE_COROUTINE: [&str; 8] = ["-c", "1", "-n", "10", "-q", "100", "--timeout", "2s"];

#[test]
fn latency_counts_from_when_a_request_was_due_and_nothing_is_under_way_before_it_is_sent() {
    let server = Server::start(1, stalls_once);
    let arguments = [&ONE_COROUTINE[..], &["--output-format", "json"]].concat();
    let ended = client_at(&server.urls, &arguments);
    let figures = &json(&ended.stdout)["figures"];
    assert_eq!(
        (&figures["total"]["ok"], &figures["total"]["unknown"]),
        (&Value::from(9), &Value::from(1)),
        "{ended:?}"
    );
    let min = figures["total"]["latency"]["min_ms"].as_f64();
    assert!(min >= Some(1900.0), "{figures}");
    assert!(figures["under_way"].as_f64() <= Some(1.0), "{figures}");
}

#[test]
fn coroutines_that_are_too_few_for_the_rate_are_named_as_the_limit() {
    let server = Server::start(1, stalls_once);
    let ended = client_at(&server.urls, &ONE_COROUTINE);
    assert!(
        ended.stdout.contains("The coroutines were the limit"),
        "{ended:?}"
    );
}

/// Runs the client with 100 coroutines and this limit of open files.
fn with_open_files(limit: &str, server: &Server, pace: &str) -> Ended {
    let run = command(&["-c", "100", &server.urls[0]]);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &format!("ulimit {limit} && exec \"$@\" {pace}"), "sh"])
        .arg(run.get_program())
        .args(run.get_args());
    for (name, _) in run.get_envs() {
        shell.env_remove(name);
    }
    ended(shell.output().expect("there is a shell"))
}

#[test]
fn the_limit_of_open_files_is_raised_to_what_an_open_loop_needs() {
    let server = Server::start(1, honest);
    let ended = with_open_files("-S -n 100", &server, "-n 3 -q 2000");
    assert!(ended.stdout.contains("300 sent = 300 ok"), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn open_files_that_are_not_allowed_are_the_clients_fault_by_name() {
    let server = Server::start(1, honest);
    let ended = with_open_files("-n 60", &server, "-n 3");
    assert!(
        ended.stdout.contains("the client may open no more files"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("no connection"), "{ended:?}");
    assert!(
        ended.stderr.contains("60 open files are allowed"),
        "{ended:?}"
    );
}

#[test]
fn who_gets_no_connection_lets_the_others_have_their_turn() {
    let server = Server::start(1, honest);
    let ended = with_open_files("-n 60", &server, "-z 2s --output-format json");
    let total = &json(&ended.stdout)["figures"]["total"];
    // About forty coroutines have a connection, and store thousands of messages in this time. Without the pause after a failed
    // connection, each would store one.
    assert!(total["ok"].as_u64() > Some(300), "{total}");
    assert!(total["failed"].as_u64() < Some(200_000), "{total}");
}
