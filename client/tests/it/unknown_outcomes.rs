//! Servers that store correctly, but do not always answer correctly: the outcome of such a request is unknown.

use crate::faulty_servers::{assert_violation, now_and_then, run};
use crate::server::{Answer, Behaviour, Log, Post, as_json, honest};

fn replies_with_garbage(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Raw(200, "<html>".to_owned())
    } else {
        answer
    }
}

#[test]
fn garbage_is_a_broken_promise_of_unknown_outcome() {
    assert_violation(
        replies_with_garbage,
        "S1",
        &[
            "not a JSON array",
            "8 of unknown outcome: 8 appeared, 0 did not",
        ],
    );
}

fn replies_as(kind: &'static str, log: &mut Log, post: &Post) -> Answer {
    match honest(log, post) {
        Answer::Messages(messages) if now_and_then(post) => Answer::Typed(kind, as_json(&messages)),
        other => other,
    }
}

fn replies_as_text(log: &mut Log, post: &Post) -> Answer {
    replies_as("text/plain", log, post)
}

fn replies_at_length(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Raw(200, " ".repeat(5 << 20))
    } else {
        answer
    }
}

fn replies_without_http(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Bytes(b"220 mail.example.org ESMTP\r\n\r\n")
    } else {
        answer
    }
}

#[test]
fn a_reply_that_is_no_json_is_a_broken_promise_also_if_it_is_repeated() {
    for behaviour in [
        replies_as_text as Behaviour,
        replies_at_length,
        replies_without_http,
    ] {
        for retries in ["0", "2"] {
            let ended = run(behaviour, &["--retries", retries]);
            assert_eq!(
                (ended.code, ended.violated_checks()),
                (Some(1), vec!["S1"]),
                "{retries} retries: {ended:?}"
            );
            let words = "it is not application/json";
            assert!(ended.stdout.contains(words), "{ended:?}");
        }
    }
}

fn refuses_at_length(log: &mut Log, post: &Post) -> Answer {
    if now_and_then(post) {
        Answer::Raw(503, " ".repeat(5 << 20))
    } else {
        honest(log, post)
    }
}

#[test]
fn a_refusal_is_one_however_long_it_is() {
    let ended = run(refuses_at_length, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let words = "8  answered 503 Service Unavailable";
    assert!(ended.stdout.contains(words), "{ended:?}");
}

/// Stores the message, and closes the connection instead of answering; a repetition is answered.
fn hangs_up(log: &mut Log, post: &Post) -> Answer {
    let repeated = log.is_repetition(post);
    let answer = honest(log, post);
    if now_and_then(post) && !repeated {
        Answer::Close
    } else {
        answer
    }
}

#[test]
fn a_repeated_request_whose_first_answer_was_lost_is_valid() {
    let ended = run(hangs_up, &["--retries", "2"]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    let words = "400 sent = 400 ok + 0 failed + 0 of unknown outcome";
    assert!(ended.stdout.contains(words), "{ended:?}");
}

fn hangs_up_and_refuses_then(log: &mut Log, post: &Post) -> Answer {
    if log.is_repetition(post) {
        Answer::Raw(503, "{}".to_owned())
    } else {
        hangs_up(log, post)
    }
}

#[test]
fn what_may_have_been_stored_once_stays_unknown_whatever_comes_then() {
    let ended = run(hangs_up_and_refuses_then, &["--retries", "1"]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("appeared, 0 did not"),
        "{}",
        ended.stdout
    );
}

/// Stores the message; but a proxy in front of the replica answers with this status.
fn proxy_answers<const STATUS: u16>(log: &mut Log, post: &Post) -> Answer {
    let is_repeated = log.is_repetition(post);
    let answer = honest(log, post);
    if now_and_then(post) && !is_repeated {
        Answer::Proxy(STATUS)
    } else {
        answer
    }
}

/// The answers of a proxy that stopped waiting for the replica, or lost the connection to it.
const PROXIES: [(Behaviour, &str); 6] = [
    (proxy_answers::<408>, "answered 408 Request Timeout"),
    (proxy_answers::<460>, "answered 460"),
    (proxy_answers::<499>, "answered 499"),
    (proxy_answers::<502>, "answered 502 Bad Gateway"),
    (proxy_answers::<503>, "answered 503 Service Unavailable"),
    (proxy_answers::<504>, "answered 504 Gateway Timeout"),
];

#[test]
fn what_a_proxy_answers_for_a_stored_message_is_unknown_and_breaks_no_promise() {
    for (behaviour, words) in PROXIES {
        let ended = run(behaviour, &[]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{words}: {ended:?}"
        );
        let counts = "400 sent = 392 ok + 0 failed + 8 of unknown outcome";
        assert!(ended.stdout.contains(counts), "{words}: {ended:?}");
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
        let appeared = "8 of unknown outcome: 8 appeared, 0 did not";
        assert!(ended.stdout.contains(appeared), "{words}: {ended:?}");
    }
}

#[test]
fn what_a_proxy_answers_for_a_stored_message_is_repeated_with_its_key() {
    for (behaviour, words) in PROXIES {
        let ended = run(behaviour, &["--retries", "2"]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{words}: {ended:?}"
        );
        let counts = "400 sent = 400 ok + 0 failed + 0 of unknown outcome";
        assert!(ended.stdout.contains(counts), "{words}: {ended:?}");
    }
}

/// Answers like a proxy that does not pass the request on.
fn proxy_refuses<const STATUS: u16>(log: &mut Log, post: &Post) -> Answer {
    if now_and_then(post) {
        Answer::Proxy(STATUS)
    } else {
        honest(log, post)
    }
}

#[test]
fn what_a_proxy_refuses_has_failed_and_is_not_repeated() {
    for behaviour in [
        proxy_refuses::<400> as Behaviour,
        proxy_refuses::<413>,
        proxy_refuses::<429>,
    ] {
        let ended = run(behaviour, &["--retries", "2"]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{ended:?}"
        );
        let counts = "400 sent = 392 ok + 8 failed + 0 of unknown outcome";
        assert!(ended.stdout.contains(counts), "{ended:?}");
    }
}

fn stalls(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number == 30 {
        Answer::Stall
    } else {
        answer
    }
}

fn breaks_down(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Raw(500, "{}".to_owned())
    } else {
        answer
    }
}

#[test]
fn what_may_have_been_stored_is_unknown_and_breaks_no_promise() {
    for (behaviour, words) in [
        (stalls as Behaviour, "1  no answer in time"),
        (
            hangs_up,
            "8  connection closed before the answer was complete",
        ),
        (breaks_down, "8  answered 500 Internal Server Error"),
    ] {
        let ended = run(behaviour, &[]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{ended:?}"
        );
        assert!(
            ended.stdout.contains(words),
            "{words:?} in {}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("appeared, 0 did not"),
            "{}",
            ended.stdout
        );
    }
}
