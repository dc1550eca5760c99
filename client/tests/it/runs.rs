//! Runs against servers that keep the promises.

use crate::program::{client, client_at};
use crate::server::{Answer, Log, Post, Server, UnusedAddress, honest};

#[test]
fn the_main_job_against_an_honest_server_is_valid() {
    let server = Server::start(2, honest);
    let ended = client_at(&server.urls, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("valid"), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("5000 sent = 5000 ok + 0 failed + 0 of unknown outcome"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("Throughput"), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_log_that_is_not_empty_is_no_fault() {
    let server = Server::start(2, honest);
    for _ in 0..3 {
        let ended = client_at(&server.urls, &["-c", "5", "-n", "20", "--seed", "1"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

fn fails_every_third(log: &mut Log, post: &Post) -> Answer {
    match post.number % 3 {
        0 => Answer::Raw(503, "{}".to_owned()),
        1 => Answer::Raw(422, "{}".to_owned()),
        _ => honest(log, post),
    }
}

#[test]
fn failures_are_counted_by_kind_and_no_broken_promise() {
    let server = Server::start(1, fails_every_third);
    let ended = client_at(&server.urls, &["-c", "3", "-n", "30"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("90 sent = 30 ok + 60 failed + 0 of unknown outcome"),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("30  answered 503 Service Unavailable"),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("30  answered 422 Unprocessable Entity"),
        "{ended:?}"
    );
}

fn stores_and_breaks_down(log: &mut Log, post: &Post) -> Answer {
    log.store(post);
    Answer::Raw(500, "{}".to_owned())
}

#[test]
fn without_any_answer_the_verdict_is_unknown() {
    let server = Server::start(1, stores_and_breaks_down);
    let ended = client_at(&server.urls, &["-c", "2", "-n", "3"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stdout.starts_with("unknown"), "{ended:?}");
    let ended = client_at(&server.urls, &["-c", "2", "-n", "3", "--no-check"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
}

#[test]
fn a_warm_up_is_not_in_the_figures() {
    let server = Server::start(1, honest);
    let ended = client_at(&server.urls, &["-c", "2", "-n", "10", "--warmup", "5"]);
    assert!(ended.stdout.contains("20 sent = 20 ok"), "{ended:?}");
    assert!(ended.stdout.contains("Judged    31 replies"), "{ended:?}");
}

#[test]
fn a_run_can_be_timed_and_paced() {
    let server = Server::start(1, honest);
    let ended = client_at(&server.urls, &["-c", "4", "-z", "300ms", "-q", "100"]);
    assert!(ended.stdout.contains("30 sent = 30 ok"), "{ended:?}");
}

#[test]
fn a_wrong_command_line_is_exit_2_and_says_what_to_write() {
    for (arguments, advice) in [
        (&["127.0.0.1:1"][..], "http://127.0.0.1:1"),
        (&["https://127.0.0.1:1"][..], "plain HTTP"),
        (&[][..], "URL"),
        (&["http://127.0.0.1:280011"][..], "invalid port"),
        (&["http://127.0.0.1:8001x"][..], "invalid port"),
        (&["http://127.0.0.1:-1"][..], "invalid port"),
        (&["http://h", "-c", "0"][..], "0"),
        (
            &["http://h", "--seed", "9007199254740992"][..],
            "at most 9007199254740991",
        ),
        (&["http://h", "-n", "1", "-z", "1s"][..], "exclude"),
    ] {
        let ended = client(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(advice), "{ended:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn texts_have_the_length_that_is_asked_for_if_that_keeps_them_apart() {
    let server = Server::start(2, expects_4000_characters);
    let ended = client_at(
        &server.urls,
        &["-c", "3", "-n", "9", "--text-length", "4000"],
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("27 sent = 27 ok"), "{ended:?}");
    let ended = client_at(&server.urls, &["-c", "3", "-n", "9", "--text-length", "13"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("need 14 characters"), "{ended:?}");
}

fn expects_4000_characters(log: &mut Log, post: &Post) -> Answer {
    match post.text.chars().count() {
        4000 => honest(log, post),
        _ => Answer::Raw(422, "{}".to_owned()),
    }
}

#[test]
fn nobody_there_is_exit_3_and_says_where() {
    let gone = UnusedAddress::new();
    let ended = client_at(&gone.urls, &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains(&gone.urls[0]) && ended.stderr.contains("connection refused"),
        "{ended:?}"
    );
}

#[test]
fn one_replica_less_is_a_warning_and_failures() {
    let server = Server::start(1, honest);
    let gone = UnusedAddress::new();
    let urls = [server.urls.clone(), gone.urls.clone()].concat();
    let ended = client_at(&urls, &["-c", "2", "-n", "20", "--seed", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("warning") && ended.stdout.contains("connection refused"),
        "{ended:?}"
    );
    let retried = client_at(
        &urls,
        &["-c", "2", "-n", "20", "--seed", "1", "--retries", "1"],
    );
    assert!(retried.stdout.contains("40 sent = 40 ok"), "{retried:?}");
}
