//! The pages that the client requests from every replica at the end of a run.

use crate::outputs::{Folder, json};
use crate::program::{Ended, client, client_at};
use crate::server::{Answer, Log, Message, PageBehaviour, Server, honest, honest_page};

const RUN: [&str; 6] = ["-c", "5", "-n", "20", "--timeout", "5s"];

/// Runs the client against two replicas that store and answer correctly, except for pages.
fn run(page: PageBehaviour, arguments: &[&str]) -> Ended {
    let server = Server::start_with_pages(2, honest, page);
    client_at(&server.urls, &[&RUN[..], arguments].concat())
}

/// Answers with a correct page, to which the second replica applies this change.
fn with_change(log: &Log, replica: usize, change: impl FnOnce(&mut Vec<Message>)) -> Answer {
    match honest_page(log, replica) {
        Answer::Messages(mut messages) if replica == 1 => {
            change(&mut messages);
            Answer::Messages(messages)
        }
        other => other,
    }
}

/// Answers like a replica that reads in a transaction that never ends.
fn is_stale(log: &Log, replica: usize) -> Answer {
    with_change(log, replica, |messages| messages.truncate(50))
}

fn is_empty(log: &Log, replica: usize) -> Answer {
    with_change(log, replica, Vec::clear)
}

fn skips(log: &Log, replica: usize) -> Answer {
    with_change(log, replica, |messages| drop(messages.remove(40)))
}

fn is_disordered(log: &Log, replica: usize) -> Answer {
    with_change(log, replica, |messages| messages.swap(40, 41))
}

fn is_altered(log: &Log, replica: usize) -> Answer {
    with_change(log, replica, |messages| messages[40].text.push('!'))
}

#[test]
fn an_honest_page_is_judged_and_accused_of_nothing() {
    let ended = run(honest_page, &[]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    let words = "2 pages of messages, asked for at the end";
    assert!(ended.stdout.contains(words), "{ended:?}");
}

#[test]
fn a_page_that_breaks_a_promise_is_accused_of_it() {
    for (page, words) in [
        (
            is_stale as PageBehaviour,
            "but P ends at seq 52, before 102",
        ),
        (is_empty, "but P shows nothing"),
        (skips, "P shows 44 right after 42"),
        (is_disordered, "P shows 43 right after 44"),
        (is_altered, "One seq, two contents: a contradiction"),
    ] {
        let ended = run(page, &[]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(1), vec!["P1"]),
            "{ended:?}"
        );
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn what_has_no_pages_is_not_accused_and_the_output_says_so() {
    for (page, words) in [
        (
            (|_, _| Answer::Proxy(404)) as PageBehaviour,
            "answered 404 Not Found",
        ),
        (
            |_, _| Answer::Raw(405, "{}".to_owned()),
            "answered 405 Method Not Allowed",
        ),
        (
            |_, _| Answer::Raw(503, "{}".to_owned()),
            "answered 503 Service Unavailable",
        ),
        (
            |_, _| Answer::Raw(200, "{}".to_owned()),
            "the body is not a JSON array",
        ),
        (
            |_, _| Answer::Typed("text/html", b"<html>".to_vec()),
            "answered 200 without messages",
        ),
        (|_, _| Answer::Close, "connection closed"),
        (|_, _| Answer::Stall, "no answer in time"),
    ] {
        let ended = run(page, &[]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{ended:?}"
        );
        let note = format!("not judged: {words}");
        assert!(ended.stdout.contains(&note), "{words}: {ended:?}");
    }
}

#[test]
fn a_run_that_is_not_judged_asks_for_no_page() {
    let server = Server::start(2, honest);
    client_at(&server.urls, &[&RUN[..], &["--no-check"]].concat());
    assert_eq!(server.pages(), 0);
    client_at(&server.urls, &RUN);
    assert_eq!(server.pages(), 2);
}

#[test]
fn the_pages_of_a_history_are_judged_offline_as_in_the_run() {
    for page in [
        honest_page as PageBehaviour,
        is_stale,
        |_, _| Answer::Proxy(404),
        |_, _| Answer::Raw(200, "[\n]".to_owned()),
        |_, _| Answer::Typed("application/json", b"[\xff]".to_vec()),
    ] {
        let folder = Folder::new();
        let history = folder.file("history.jsonl");
        let as_json = ["--output-format", "json"];
        let ran = run(page, &[&as_json[..], &["--history", &history]].concat());
        let checked = client(&[&["check", &history], &as_json[..]].concat());
        assert_eq!(ran.code, checked.code, "{checked:?}");
        let (ran, checked) = (json(&ran.stdout), json(&checked.stdout));
        assert_eq!(ran["checks"], checked["checks"]);
        assert_eq!(ran["coverage"], checked["coverage"]);
    }
}

#[test]
fn a_history_from_before_there_were_pages_is_read_and_the_output_says_so() {
    let folder = Folder::new();
    let history = folder.file("history.jsonl");
    run(honest_page, &["--history", &history]);
    let written = std::fs::read_to_string(&history).expect("it was written");
    let (requests, _) = written.trim_end().rsplit_once('\n').expect("many lines");
    std::fs::write(&history, format!("{requests}\n{{\"requests\":102}}\n"))
        .expect("a temporary file");
    let ended = client(&["check", &history]);
    assert_eq!(
        (ended.code, ended.violated_checks()),
        (Some(0), vec![]),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("no page of messages was judged"),
        "{ended:?}"
    );
}
