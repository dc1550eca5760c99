//! Requests that are repeated with `--retries`.

use crate::program::{Ended, client_at};
use crate::server::{Answer, Log, Post, Server, UnusedAddress, honest};

/// Runs one coroutine with twenty requests, each sent at most twice.
fn run(urls: &[String]) -> Ended {
    client_at(
        urls,
        &["-c", "1", "-n", "20", "--seed", "1", "--retries", "1"],
    )
}

/// Every second request is stored but answered with 500, and its repetition is refused. The others are answered.
fn stores_breaks_down_and_refuses(log: &mut Log, post: &Post) -> Answer {
    match post.number % 3 {
        0 => {
            log.store(post);
            Answer::Raw(500, "{}".to_owned())
        }
        1 => Answer::Raw(503, "{}".to_owned()),
        _ => honest(log, post),
    }
}

#[test]
fn what_was_unknown_once_stays_unknown_when_its_repetition_is_refused() {
    let server = Server::start(1, stores_breaks_down_and_refuses);
    let ended = run(&server.urls);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    let counts = "20 sent = 10 ok + 0 failed + 10 of unknown outcome";
    assert!(ended.stdout.contains(counts), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("10  answered 500 Internal Server Error"),
        "{ended:?}"
    );
}

/// Stores the message, and closes the connection for most requests; a repetition is answered.
fn hangs_up_on_new_keys(log: &mut Log, post: &Post) -> Answer {
    let known = log.is_repetition(post);
    let answer = honest(log, post);
    if known || post.number.is_multiple_of(4) {
        answer
    } else {
        Answer::Close
    }
}

#[test]
fn an_honest_answer_to_a_repetition_is_valid() {
    let server = Server::start(2, hangs_up_on_new_keys);
    let ended = client_at(
        &server.urls,
        &["-c", "5", "-n", "10", "--retries", "1", "--seed", "1"],
    );
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("50 sent = 50 ok"), "{ended:?}");
    assert!(ended.stdout.contains("sent more than once"), "{ended:?}");
    assert!(ended.stdout.contains("the replica asked last"), "{ended:?}");
}

#[test]
fn what_was_unknown_once_stays_unknown_when_the_other_replica_is_gone() {
    let server = Server::start(1, hangs_up_on_new_keys);
    let gone = UnusedAddress::new();
    let ended = run(&[server.urls.clone(), gone.urls.clone()].concat());
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    assert!(ended.stdout.contains(" ok + 0 failed + "), "{ended:?}");
    assert!(ended.stdout.contains("connection closed"), "{ended:?}");
    assert!(!ended.stdout.contains("  connection refused"), "{ended:?}");
}
