//! Servers that each break one promise. The client must exit with 1, report the check for that promise with an explanation, and
//! report nothing else.

use crate::program::{Ended, client_at};
use crate::server::{Answer, Behaviour, Log, Message, Post, Server, honest, time};

/// Runs the client against two replicas with this behaviour.
pub(crate) fn run(behaviour: Behaviour, arguments: &[&str]) -> Ended {
    let server = Server::start(2, behaviour);
    let common = ["-c", "10", "-n", "40", "--seed", "3", "--timeout", "10s"];
    client_at(&server.urls, &[&common, arguments].concat())
}

/// Asserts that exactly the check with this code finds a violation, and that the explanation has these words.
pub(crate) fn assert_violation(behaviour: Behaviour, code: &str, words: &[&str]) {
    let ended = run(behaviour, &[]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(1), vec![code]),
        "{ended:?}"
    );
    for words in words {
        assert!(
            ended.stdout.contains(words),
            "{words:?} in {}",
            ended.stdout
        );
    }
}

/// Selects one request in fifty, and none of the first thirty.
pub(crate) fn now_and_then(post: &Post) -> bool {
    post.number % 50 == 30
}

/// Returns a message that this run does not send.
fn foreign(post: &Post) -> Post {
    Post {
        key: None,
        user: post.user.clone(),
        text: "buy now".to_owned(),
        ..*post
    }
}

fn messages(answer: Answer, change: impl FnOnce(&mut Vec<Message>)) -> Answer {
    match answer {
        Answer::Messages(mut messages) => {
            change(&mut messages);
            Answer::Messages(messages)
        }
        other => other,
    }
}

#[test]
fn an_honest_server_is_accused_of_nothing() {
    let ended = run(honest, &[]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
}

fn numbers_from_its_own_memory(log: &mut Log, post: &Post) -> Answer {
    honest(log.by_replica.entry(post.replica).or_default(), post)
}

#[test]
fn replicas_that_number_from_their_own_memory() {
    assert_violation(
        numbers_from_its_own_memory,
        "G1",
        &["Both were answered with seq"],
    );
}

fn skips_a_message(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        messages(answer, |window| drop(window.remove(4)))
    } else {
        answer
    }
}

#[test]
fn a_reply_that_skips_a_message() {
    assert_violation(skips_a_message, "S4", &["what is between exists"]);
}

fn shows_nine(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        messages(answer, |window| drop(window.remove(0)))
    } else {
        answer
    }
}

#[test]
fn a_reply_that_is_too_short() {
    assert_violation(shows_nine, "S5", &["should begin at"]);
}

fn shows_eleven(log: &mut Log, post: &Post) -> Answer {
    let place = log.store(post);
    let first = if now_and_then(post) {
        place - 10
    } else {
        place.saturating_sub(9)
    };
    Answer::Messages(log.messages[first..=place].to_vec())
}

#[test]
fn a_reply_that_is_too_long() {
    assert_violation(shows_eleven, "S1", &["more than ten"]);
}

fn shows_a_newer_one(log: &mut Log, post: &Post) -> Answer {
    let mut place = log.store(post);
    if now_and_then(post) {
        place = log.store(&foreign(post));
    }
    Answer::Messages(log.window(place))
}

#[test]
fn a_reply_that_shows_one_too_new() {
    let ended = run(shows_a_newer_one, &["--shared"]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(1), vec!["S3"]),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("is not the last one: 1 follow"),
        "{ended:?}"
    );
}

fn counts_a_user_twice(log: &mut Log, post: &Post) -> Answer {
    if now_and_then(post) {
        *log.counters.entry(post.user.clone()).or_default() += 1;
    }
    honest(log, post)
}

#[test]
fn a_user_that_is_counted_twice() {
    assert_violation(counts_a_user_twice, "G8", &["user_seq should be"]);
}

fn loses_and_reuses_the_number(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        log.messages.pop();
        *log.counters.entry(post.user.clone()).or_default() -= 1;
    }
    answer
}

#[test]
fn an_acknowledged_message_whose_number_is_given_again() {
    assert_violation(loses_and_reuses_the_number, "G6", &["it is lost"]);
}

fn loses_and_leaves_a_hole(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        // From now on no reply shows it: its text is replaced by a mark, and replies omit marked messages.
        let last = log.messages.len() - 1;
        LOST.clone_into(&mut log.messages[last].text);
    }
    messages(answer, |window| {
        window.retain(|message| message.text != LOST);
    })
}

const LOST: &str = "lost";

#[test]
fn an_acknowledged_message_that_later_replies_skip() {
    assert_violation(loses_and_leaves_a_hole, "G6", &["it is lost"]);
}

fn stores_a_retry_twice(log: &mut Log, post: &Post) -> Answer {
    if post.number % 50 == 30 {
        log.store(&Post {
            key: None,
            user: post.user.clone(),
            text: post.text.clone(),
            ..*post
        });
        return Answer::Close;
    }
    honest(log, post)
}

#[test]
fn a_retry_that_is_stored_twice() {
    let ended = run(stores_a_retry_twice, &["--retries", "2"]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(1), vec!["G3"]),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("Idempotency-Key"), "{ended:?}");
}

fn answers_another_request(log: &mut Log, post: &Post) -> Answer {
    let place = log.store(post);
    if now_and_then(post) {
        Answer::Messages(log.window(place - 1))
    } else {
        Answer::Messages(log.window(place))
    }
}

#[test]
fn a_reply_to_another_request() {
    assert_violation(answers_another_request, "S2", &["own message is missing"]);
}

fn moves_dates_back(log: &mut Log, post: &Post) -> Answer {
    let place = log.store(post);
    if now_and_then(post) {
        log.messages[place].sent_at = time(place as u64 - 2);
    }
    Answer::Messages(log.window(place))
}

#[test]
fn dates_that_go_back() {
    assert_violation(moves_dates_back, "G10", &["earlier: a contradiction"]);
}

fn shows_other_content_on_one_replica(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.replica == 0 {
        return answer;
    }
    // In the next three replies only, so that most replies show the true text.
    messages(answer, |window| {
        for message in window
            .iter_mut()
            .rev()
            .skip(1)
            .take(3)
            .filter(|message| message.seq % 10 == 0)
        {
            message.text.push('!');
        }
    })
}

#[test]
fn other_content_on_another_replica() {
    assert_violation(
        shows_other_content_on_one_replica,
        "G2",
        &["One seq, two contents"],
    );
}

fn invents_a_message(log: &mut Log, post: &Post) -> Answer {
    if now_and_then(post) {
        log.store(&foreign(post));
    }
    honest(log, post)
}

#[test]
fn a_message_that_nobody_sent_is_found_unless_others_may_write() {
    assert_violation(invents_a_message, "G4", &["buy now"]);
    let shared = run(invents_a_message, &["--shared"]);
    assert_eq!(
        (shared.code, shared.violated_checks()),
        (Some(0), vec![]),
        "{shared:?}"
    );
}

fn stores_what_it_refuses(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if now_and_then(post) {
        Answer::Raw(503, "{}".to_owned())
    } else {
        answer
    }
}

#[test]
fn a_message_that_was_refused_and_is_stored() {
    assert_violation(stores_what_it_refuses, "G5", &["503 Service Unavailable"]);
}

fn leaves_a_hole(log: &mut Log, post: &Post) -> Answer {
    if now_and_then(post) {
        let gone = log.store(&Post {
            key: None,
            user: "nobody".to_owned(),
            text: LOST.to_owned(),
            ..*post
        });
        assert!(gone > 0, "a hole has two sides");
    }
    messages(honest(log, post), |window| {
        window.retain(|message| message.text != LOST);
    })
}

#[test]
fn a_hole_in_the_numbers() {
    assert_violation(leaves_a_hole, "G7", &["no reply shows what is between"]);
}

/// Reserves a number. The next eleven requests are stored after it and never answered, so that the reply to the twelfth does not
/// show it; the request after that gets it.
fn gives_a_number_late(log: &mut Log, post: &Post) -> Answer {
    const RESERVED: usize = 30;
    if post.number == RESERVED as u64 {
        log.store(&foreign(post));
    }
    if post.number == RESERVED as u64 + 12 {
        log.messages[RESERVED].text.clone_from(&post.text);
        return Answer::Messages(log.window(RESERVED));
    }
    let answer = honest(log, post);
    if (RESERVED as u64..RESERVED as u64 + 11).contains(&post.number) {
        Answer::Close
    } else {
        answer
    }
}

#[test]
fn a_number_smaller_than_one_that_was_answered_before() {
    let server = Server::start(2, gives_a_number_late);
    let ended = client_at(&server.urls, &["-c", "1", "-n", "60", "--users", "1"]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(1), vec!["R1"]),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("so seq(A) < seq(B); but A has 43 and B has 31: a contradiction"),
        "{ended:?}"
    );
}
