//! Histories that a run writes and `client check` judges.

use crate::outputs::{Folder, fails_sometimes, json};
use crate::program::{client, client_at};
use crate::server::{Answer, Behaviour, Log, Post, Server, as_json, honest};

fn is_unreadable(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    match post.number % 7 {
        2 => Answer::Raw(200, "null".to_owned()),
        3 => Answer::Typed("application/json", b"[\"\xff\"]".to_vec()),
        4 => Answer::Typed("text/plain", b"[]".to_vec()),
        _ => answer,
    }
}

fn is_not_utf8(log: &mut Log, post: &Post) -> Answer {
    let Answer::Messages(messages) = honest(log, post) else {
        return Answer::Close;
    };
    let mut body = as_json(&messages);
    let after_text = br#"","sent_at""#;
    if post.number % 7 == 2
        && let Some(end) = body
            .windows(after_text.len())
            .rposition(|part| part == after_text)
    {
        body.insert(end, b'\xff');
    }
    Answer::Typed("application/json", body)
}

fn is_null(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number % 7 == 2 {
        Answer::Raw(200, "null".to_owned())
    } else {
        answer
    }
}

#[test]
fn a_history_is_judged_offline_as_the_run_was() {
    for behaviour in [
        fails_sometimes as Behaviour,
        is_unreadable,
        is_not_utf8,
        is_null,
    ] {
        assert_same_verdict(behaviour);
    }
}

fn assert_same_verdict(behaviour: Behaviour) {
    let folder = Folder::new();
    let file = folder.file("run.jsonl");
    let server = Server::start(2, behaviour);
    let run = client_at(
        &server.urls,
        &[
            "-c",
            "5",
            "-n",
            "30",
            "--warmup",
            "2",
            "--output-format",
            "json",
            "--history",
            &file,
        ],
    );
    let check = client(&["check", &file, "--output-format", "json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(check.code, Some(1), "{check:?}");
    let (run, check) = (json(&run.stdout), json(&check.stdout));
    assert_eq!(run["verdict"], "invalid");
    assert_eq!(run["checks"], check["checks"]);
    assert_eq!(run["coverage"], check["coverage"]);
    assert!(check["figures"].is_null());
}

#[test]
fn a_history_that_is_none_is_exit_3_and_says_which_line() {
    let folder = Folder::new();
    let file = folder.file("run.jsonl");
    let server = Server::start(1, honest);
    client_at(&server.urls, &["-c", "1", "-n", "3", "--history", &file]);
    let whole = std::fs::read_to_string(&file).expect("it was written");
    for (content, words) in [
        (String::new(), "empty"),
        ("{}\n".to_owned(), "line 1"),
        (
            whole.replace("\"history_version\":1", "\"history_version\":2"),
            "version 2",
        ),
        (whole.replacen("\"coroutine\"", "\"\"", 1), "line 2"),
        (
            whole.replace("{\"requests\":4", "{\"requests\":5"),
            "line 6",
        ),
        (whole.clone() + "{}", "line 6"),
        (
            whole.replace("[{\"replica\":0", "[{\"replica\":9"),
            "line 6",
        ),
        (whole.replace("\"replica\":0", "\"replica\":9"), "line 2"),
    ] {
        std::fs::write(&file, content).expect("a temporary file");
        let ended = client(&["check", &file]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(client(&["check", &folder.file("absent")]).code, Some(3));
}

#[test]
fn a_history_with_a_greater_seed_is_still_read() {
    let folder = Folder::new();
    let history = folder.file("history.jsonl");
    let server = Server::start(1, honest);
    client_at(
        &server.urls,
        &["-c", "1", "-n", "1", "--seed", "7", "--history", &history],
    );
    let written = std::fs::read_to_string(&history).expect("it was written");
    let older = written.replace("\"seed\":7", "\"seed\":18446744073709551615");
    assert_ne!(older, written);
    std::fs::write(&history, older).expect("a temporary file");
    assert_eq!(client(&["check", &history]).code, Some(0));
}
