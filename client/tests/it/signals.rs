//! Signals, once and twice.

use std::io::Read;
use std::process::Stdio;

use crate::honest::{Answer, Log, Post, Server, honest};
use crate::program::{command, ended};

fn stalls_after_ten(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number >= 10 {
        Answer::Stall
    } else {
        answer
    }
}

fn interrupt(signal: &str, process: u32) {
    let sent = std::process::Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "kill is there, and the process too"
    );
}

#[test]
fn one_signal_ends_the_sending_and_shows_what_there_is() {
    let server = Server::start(1, stalls_after_ten);
    // Two coroutines of five requests, and then nothing but silence until the time-out.
    let child = command(&["-c", "2", "-n", "100", "--timeout", "2s", &server.urls[0]])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    server.wait_for(12);
    interrupt("-TERM", child.id());
    let output = child.wait_with_output().expect("it ends");
    let ended = ended(output);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("12 sent = 10 ok + 0 failed + 2 of unknown outcome"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("once more to leave at once"),
        "{ended:?}"
    );
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let server = Server::start(1, stalls_after_ten);
    let mut child = command(&["-c", "2", "-n", "100", "--timeout", "60s", &server.urls[0]])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    server.wait_for(12);
    interrupt("-INT", child.id());
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut first = [0; 10];
    stderr.read_exact(&mut first).expect("the warning");
    interrupt("-INT", child.id());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(130), &b""[..])
    );
}
