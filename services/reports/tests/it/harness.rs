//! Runs the program, and reads what it stored.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Database, program};

/// A call: phone, start and end, in milliseconds.
pub(crate) type Call = (u64, u64, u64);

/// The exit status and the output of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The command line of `reports COMMAND` on a database.
pub(crate) fn reports(command: &str, database: &Database) -> Command {
    let mut reports = program("reports").expect("tests of the package build it");
    reports.args([command, "--database-url", &database.url()]);
    reports
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // A command that does not read to the end closes the pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it is our child");
    Output {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `reports load`, which must succeed.
#[track_caller]
pub(crate) fn load(database: &Database, options: &[&str], input: &str) -> Output {
    let output = run(reports("load", database).args(options), input);
    assert_eq!(output.status, Some(0), "{output:?}");
    output
}

/// A temporary folder, and the path of a file in it with this text.
pub(crate) fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("calls.json");
    fs::write(&path, text).expect("there is space");
    (folder, path)
}

/// A call as a source has it.
pub(crate) fn call_json((phone, start_date, end_date): Call) -> Value {
    json!({ "phone": phone, "start_date": start_date, "end_date": end_date })
}

/// A JSON array of calls.
pub(crate) fn array(calls: &[Call]) -> String {
    let calls = calls.iter().copied().map(call_json);
    calls.collect::<Value>().to_string()
}

/// JSON Lines of calls.
pub(crate) fn lines(calls: &[Call]) -> String {
    let lines = calls.iter().map(|&call| format!("{}\n", call_json(call)));
    lines.collect()
}

/// All calls that are stored, in the order of their index.
pub(crate) fn stored(database: &Database) -> Vec<Call> {
    database.rows(
        "SELECT phone, started_at, started_at + duration_ms
         FROM calls
         ORDER BY phone, started_at, duration_ms",
    )
}

/// How many calls are stored.
pub(crate) fn count(database: &Database) -> u64 {
    database.rows("SELECT COUNT(*) FROM calls")[0]
}

/// The stored counts: phone, duration and calls.
pub(crate) fn stored_durations(database: &Database) -> Vec<(u64, u32, u64)> {
    database.rows(
        "SELECT phone, duration_ms, calls
         FROM call_durations
         ORDER BY phone, duration_ms",
    )
}

/// Fails unless the stored counts are those of the calls.
#[track_caller]
pub(crate) fn assert_valid(database: &Database) {
    let output = run(&mut reports("check", database), "");
    assert_eq!(output.status, Some(0), "{output:?}");
}

/// Runs a command whose standard output is closed.
pub(crate) fn run_unread(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it is our child");
    Output {
        status: output.status.code(),
        out: String::new(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
