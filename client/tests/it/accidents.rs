//! Servers that keep their promises, and now and then do not say so: what may have been stored is unknown.

use crate::honest::{Answer, Behaviour, Log, Post, honest};
use crate::liars::{accuses, now_and_then, run};

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
    accuses(
        replies_with_garbage,
        "S1",
        &[
            "not a JSON array",
            "8 of unknown outcome: 8 appeared, 0 did not",
        ],
    );
}

fn stalls(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number == 30 {
        Answer::Stall
    } else {
        answer
    }
}

fn hangs_up(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Hang
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
            (ended.code, ended.accused()),
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
