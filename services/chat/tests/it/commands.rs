//! The commands that are not servers, and options that are refused.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testbed::{Database, PATIENCE, Process, eventually, program};

use crate::harness::{Client, messager, web, web_again, worker};

/// Runs `chat` with these arguments. Returns its exit status and output.
fn chat(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = program("chat").expect("tests of the package build it");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("it can be started");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code(), text)
}

fn assert_exit(arguments: &[&str], status: i32, expected: &str) {
    let (found, text) = chat(arguments);
    assert_eq!(found, Some(status), "{arguments:?}: {text}");
    assert!(text.contains(expected), "{arguments:?}: {text}");
}

#[test]
fn a_proof_is_verified_against_the_bits_that_are_asked_for() {
    let database = Database::new();
    let (web, _messager, _worker) = (web(&database), messager(&database), worker(&database));
    let mut client = Client::join(&web, "r");
    client.send("u", "work!pow");
    let frame = client.up_to(2).pop().expect("it has come");
    let altered = |alter: &dyn Fn(&mut Value)| {
        let mut frame = frame.clone();
        alter(&mut frame);
        frame.to_string()
    };
    let good = frame.to_string();
    assert_exit(&["verify", "--json", &good], 0, "12 zero bits");
    assert_exit(&["verify", "--json", &good, "--bits", "12"], 0, "verified");
    assert_exit(
        &["verify", "--json", &good, "--bits", "13"],
        1,
        "13 are asked for",
    );
    assert_exit(&["verify", "--json", &good, "--bits", "0"], 2, "--bits");
    let no_work = altered(&|frame| frame["proof"]["bits"] = json!(0));
    assert_exit(
        &["verify", "--json", &no_work],
        1,
        "not verified: it says that 0",
    );
    let other_line = altered(&|frame| frame["message"] = json!("POW hash:"));
    assert_exit(
        &["verify", "--json", &other_line],
        1,
        "not verified: the line",
    );
    let no_proof = r#"{"username":"u","message":"hi"}"#;
    assert_exit(
        &["verify", "--json", no_proof],
        2,
        "no frame that shows a proof",
    );
    let of_parts = [
        "verify",
        "--challenge",
        "zz",
        "--text",
        "t",
        "--nonce",
        "1",
        "--hash",
        "00",
    ];
    assert_exit(&of_parts, 2, "--challenge takes 16 bytes");
}

#[test]
fn a_load_that_cannot_be_run_says_so() {
    assert_exit(
        &["load", "http://127.0.0.1:1"],
        2,
        "cannot connect to http://127.0.0.1:1",
    );
    assert_exit(&["load", "ftp://127.0.0.1"], 2, "none of http");
    assert_exit(&["load", "127.0.0.1"], 2, "no URL");
    assert_exit(
        &["load", "http://127.0.0.1:1", "--rate", "4000000000"],
        2,
        "--rate",
    );
}

#[test]
fn origins_that_no_browser_sends_are_refused() {
    for origin in [
        "*",
        "chat.example",
        "https://chat.example/pages",
        "https://a.example,",
    ] {
        let arguments = [
            "web",
            "--database-url",
            "mysql://u@h/d",
            "--allowed-origins",
            origin,
        ];
        assert_exit(&arguments, 2, "an origin is like");
    }
}

#[test]
fn a_graceful_restart_under_load_breaks_no_promise() {
    let database = Database::new();
    let (mut here, there) = (web(&database), web(&database));
    let _messager = messager(&database);
    let mut command = program("chat").expect("tests of the package build it");
    command.args([
        "load",
        "--sockets",
        "20",
        "--rate",
        "200",
        "--duration",
        "8s",
    ]);
    command.args([&here, &there].map(|web| format!("http://{}", web.address())));
    let mut load = Process::start(command.stdout(Stdio::null())).expect("it can be started");
    let address = here.address();
    for round in 1..=3 {
        eventually("the load goes on", || {
            database.rows::<u64>("SELECT COUNT(*) FROM messages")[0] >= round * 400
        });
        here.terminate();
        assert!(here.exit_status().success());
        here = web_again(&database, address);
    }
    let status = load.wait_timeout(2 * PATIENCE).expect("it is our child");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}
