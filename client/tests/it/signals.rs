//! Signals, once and twice.

use std::io::Read;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::outputs::Folder;
use crate::program::{client, end_of, start};
use crate::server::{Answer, Log, Post, Server, honest};

fn stalls_after_ten(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number >= 10 {
        Answer::Stall
    } else {
        answer
    }
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "kill is there, and the process too"
    );
}

/// Sends the second Ctrl-C when the warning about the first was printed.
fn send_ctrl_c_twice(child: &mut Child) {
    send("-INT", child);
    let stderr = child.stderr.as_mut().expect("a pipe");
    stderr.read_exact(&mut [0; 10]).expect("the warning");
    send("-INT", child);
}

#[test]
fn one_signal_ends_the_sending_and_shows_what_there_is() {
    let server = Server::start(1, stalls_after_ten);
    // Two coroutines get five answers each, and then none until the timeout.
    let child = start(&["-c", "2", "-n", "100", "--timeout", "6s", &server.urls[0]]);
    server.wait_for(12);
    send("-TERM", &child);
    let ended = end_of(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("12 sent = 10 ok + 0 failed + 2 of unknown outcome"),
        "{ended:?}"
    );
    assert!(ended.stdout.starts_with("valid so far"), "{ended:?}");
    assert!(ended.stdout.contains("interrupted: "), "{ended:?}");
    assert!(
        ended.stderr.contains("once more to leave at once"),
        "{ended:?}"
    );
}

fn stalls(_: &mut Log, _: &Post) -> Answer {
    Answer::Stall
}

#[test]
fn a_run_that_is_interrupted_before_any_answer_is_unknown() {
    let server = Server::start(1, stalls);
    let child = start(&["-c", "1", "--timeout", "500ms", "--quiet", &server.urls[0]]);
    server.wait_for(1);
    send("-INT", &child);
    let ended = end_of(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(5), ""));
    assert!(ended.stdout.contains("interrupted: "), "{ended:?}");
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let server = Server::start(1, stalls_after_ten);
    let mut child = start(&["-c", "2", "-n", "100", "--timeout", "60s", &server.urls[0]]);
    server.wait_for(12);
    send_ctrl_c_twice(&mut child);
    let ended = end_of(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""));
}

#[test]
fn a_second_ctrl_c_leaves_at_once_also_while_results_are_printed() {
    let server = Server::start(1, honest);
    // More lines than a pipe holds, and no reader: the program blocks while it prints.
    let url = &server.urls[0];
    let mut child = start(&["-c", "4", "-n", "500", "--output-format", "csv", url]);
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("it prints");
    let deadline = Instant::now() + Duration::from_secs(30);
    let ended = loop {
        send("-INT", &child);
        let ended = child.try_wait().expect("it is ours");
        if ended.is_some() || Instant::now() > deadline {
            break ended;
        }
    };
    drop(stdout);
    child.wait().expect("without a reader it ends");
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
}

#[test]
fn more_requests_can_be_asked_for_than_fit_into_memory() {
    let server = Server::start(1, stalls_after_ten);
    let most = u32::MAX.to_string();
    let url = &server.urls[0];
    let child = start(&["-n", &most, "--warmup", &most, "--timeout", "500ms", url]);
    server.wait_for(12);
    send("-INT", &child);
    let ended = end_of(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

fn stalls_once(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number == 10 {
        Answer::Stall
    } else {
        answer
    }
}

#[test]
fn what_a_run_wrote_down_before_it_was_left_is_judged() {
    let folder = Folder::new();
    let file = folder.file("run.jsonl");
    let server = Server::start(1, stalls_once);
    let run = ["-c", "2", "-z", "60s", "--timeout", "60s"];
    let mut child = start(&[&run[..], &["--history", &file, &server.urls[0]]].concat());
    // The other coroutine goes on, and its replies show the message that was never answered.
    server.wait_for(100);
    while std::fs::metadata(&file).expect("it was begun").len() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    send_ctrl_c_twice(&mut child);
    assert_eq!(end_of(child).code, Some(130));

    let whole = std::fs::read(&file).expect("it was written");
    // The file as the run left it; and as a crash leaves it, cut off in the middle of a line.
    for length in [whole.len(), whole.len() - 7] {
        std::fs::write(&file, &whole[..length]).expect("a temporary file");
        let ended = client(&["check", &file]);
        assert_eq!(
            (ended.code, ended.violated_checks()),
            (Some(0), vec![]),
            "{ended:?}"
        );
        let words = "was not written to its end";
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}
