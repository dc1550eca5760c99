//! The output of the client, on stdout and in files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::program::{client, client_at, end_of, start};
use crate::server::{Answer, Behaviour, Log, Post, Server, UnusedAddress, honest};

/// A temporary folder, which is removed when the test ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "client-it-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON and nothing else")
}

#[test]
fn json_stands_alone_on_stdout_and_adds_up() {
    let server = Server::start(2, honest);
    let ended = client_at(
        &server.urls,
        &[
            "-c",
            "5",
            "-n",
            "20",
            "--seed",
            "9",
            "--output-format",
            "json",
        ],
    );
    let document = json(&ended.stdout);
    assert_eq!(document["schema_version"], 2);
    assert_eq!(document["verdict"], "valid");
    assert_eq!(document["settings"]["seed"], 9);
    let total = &document["figures"]["total"];
    assert_eq!(
        (&total["sent"], &total["ok"]),
        (&Value::from(100), &Value::from(100))
    );
    let sent: u64 = document["figures"]["replicas"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|replica| replica["sent"].as_u64())
        .sum();
    assert_eq!(sent, 100);
    assert_eq!(document["checks"].as_array().map(Vec::len), Some(18));
    assert!(document["coverage"]["ordered_pairs_across_replicas"].as_u64() > Some(0));
}

/// The greatest integer up to which doubles, which some JSON readers use (jq 1.6, a browser), are exact.
const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;

#[test]
fn a_seed_that_was_drawn_can_be_read_by_any_json_reader() {
    let folder = Folder::new();
    let history = folder.file("history.jsonl");
    let server = Server::start(1, honest);
    for _ in 0..5 {
        let run = ["-c", "1", "-n", "1", "--output-format", "json", "--history"];
        let ended = client_at(&server.urls, &[&run[..], &[&history]].concat());
        let seed = json(&ended.stdout)["settings"]["seed"].as_u64();
        assert!(
            seed.is_some_and(|seed| seed <= MAX_EXACT_INTEGER),
            "{seed:?}"
        );
        let written = std::fs::read_to_string(&history).expect("it was written");
        let header = json(written.lines().next().expect("a header"));
        assert_eq!(header["seed"].as_u64(), seed);
    }
}

#[test]
fn csv_has_a_line_for_each_request() {
    let server = Server::start(1, honest);
    let ended = client_at(
        &server.urls,
        &[
            "-c",
            "2",
            "-n",
            "10",
            "--users",
            "a\"b,c",
            "--output-format",
            "csv",
        ],
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    // Twenty requests, one probe, and the header.
    assert_eq!(lines.len(), 22, "{ended:?}");
    let columns = lines[0].split(',').count();
    assert!(
        lines.iter().all(|line| line.split(',').count() == columns),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("\"a\"\"b\""), "{ended:?}");
}

pub(crate) fn fails_sometimes(log: &mut Log, post: &Post) -> Answer {
    match post.number % 7 {
        2 => Answer::Raw(503, "{}".to_owned()),
        3 => {
            log.store(post);
            Answer::Raw(500, "line\nline".to_owned())
        }
        4 => {
            log.store(post);
            Answer::Raw(200, "{\n}".to_owned())
        }
        _ => honest(log, post),
    }
}

#[test]
fn a_file_that_cannot_be_written_is_exit_3() {
    let server = Server::start(1, honest);
    for option in ["--history", "--output", "--report"] {
        let ended = client_at(
            &server.urls,
            &["-c", "1", "-n", "1", option, "/nonexistent/file"],
        );
        assert_eq!(ended.code, Some(3), "{option}: {ended:?}");
        assert!(
            ended.stderr.contains("/nonexistent/file"),
            "{option}: {ended:?}"
        );
    }
}

#[test]
fn a_path_that_is_wrong_costs_no_run() {
    let server = Server::start(1, honest);
    for option in ["--history", "--output", "--report"] {
        client_at(&server.urls, &[option, "/nonexistent/file"]);
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_run_that_cannot_begin_costs_no_older_file() {
    let folder = Folder::new();
    let gone = UnusedAddress::new();
    for option in ["--history", "--output", "--report"] {
        let file = folder.file("older");
        std::fs::write(&file, "older").expect("a temporary file");
        let ended = client_at(&gone.urls, &[option, &file]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let left = std::fs::read_to_string(&file).expect("it is still there");
        assert_eq!(left, "older", "{option}");
    }
}

#[test]
fn a_wrong_path_costs_no_older_file_at_another() {
    let folder = Folder::new();
    let server = Server::start(1, honest);
    let file = folder.file("older");
    std::fs::write(&file, "older").expect("a temporary file");
    let same = std::path::Path::new(&file).with_file_name("./older");
    let same = same.to_str().expect("a temporary name");
    for (options, code, words) in [
        (
            ["--history", &file, "--output", "/nonexistent/file"],
            3,
            "/nonexistent/file",
        ),
        (
            ["--output", &file, "--report", "/nonexistent/file"],
            3,
            "/nonexistent/file",
        ),
        (
            ["--history", &file, "--output", same],
            2,
            "a file of its own",
        ),
        (
            ["--output", &file, "--report", &file],
            2,
            "a file of its own",
        ),
    ] {
        let ended = client_at(&server.urls, &options);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        let left = std::fs::read_to_string(&file).expect("it is still there");
        assert_eq!(left, "older", "{options:?}");
    }
    assert_eq!(server.requests(), 0);
}

fn invents(log: &mut Log, post: &Post) -> Answer {
    match honest(log, post) {
        Answer::Messages(mut messages) => {
            messages[0].text.push('!');
            Answer::Messages(messages)
        }
        other => other,
    }
}

#[test]
fn a_full_disk_is_told_after_the_verdict_and_does_not_outweigh_it() {
    for (behaviour, code, verdict) in [(honest as Behaviour, 3, "valid"), (invents, 1, "INVALID")] {
        let server = Server::start(1, behaviour);
        for option in ["--history", "--report"] {
            let ended = client_at(&server.urls, &["-c", "1", "-n", "20", option, "/dev/full"]);
            assert_eq!(ended.code, Some(code), "{option}: {ended:?}");
            assert!(ended.stdout.starts_with(verdict), "{option}: {ended:?}");
            assert!(ended.stderr.contains("/dev/full"), "{option}: {ended:?}");
        }
    }
}

#[test]
fn a_missed_threshold_is_exit_4() {
    let server = Server::start(1, honest);
    let small = ["-c", "2", "-n", "20"];
    for (thresholds, code) in [
        (
            &[
                "--threshold",
                "failed=0",
                "--threshold",
                "throughput>1,p50<10s",
            ][..],
            0,
        ),
        (&["--threshold", "p50<1us"][..], 4),
        (&["--threshold", "p99<10s"][..], 4),
    ] {
        let ended = client_at(&server.urls, &[&small, thresholds].concat());
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
    assert_eq!(
        client_at(&server.urls, &["--threshold", "speed>1"]).code,
        Some(2)
    );
}

#[test]
fn two_runs_are_compared_if_they_can_be() {
    let folder = Folder::new();
    let (one, other, third) = (
        folder.file("1.json"),
        folder.file("2.json"),
        folder.file("3.json"),
    );
    let server = Server::start(1, honest);
    for (file, requests, length) in [
        (&one, "20", "30"),
        (&other, "20", "30"),
        (&third, "21", "31"),
    ] {
        let options = [
            "-c",
            "2",
            "-n",
            requests,
            "--text-length",
            length,
            "--output-format",
            "json",
            "--output",
            file.as_str(),
        ];
        assert_eq!(client_at(&server.urls, &options).stdout, "");
    }
    let compared = client(&["compare", &one, &other]);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    assert!(
        compared.stdout.contains("throughput, messages/s"),
        "{compared:?}"
    );
    let older = std::fs::read_to_string(&one).expect("it was written");
    let pages = ",\n    \"pages\": 1";
    assert!(older.contains(pages), "{older}");
    let older = older.replace(pages, "");
    let older = older.replace("\"schema_version\": 2", "\"schema_version\": 1");
    std::fs::write(&one, older).expect("a temporary file");
    let compared = client(&["compare", &one, &other]);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    let refused = client(&["compare", &one, &third]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("requests (20 and 21), text length (30 and 31)"),
        "{refused:?}"
    );
}

#[test]
fn the_self_test_passes() {
    let ended = client(&["selftest", "--rounds", "3"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("FAIL"), "{ended:?}");
}

#[test]
fn help_completions_and_manual_are_there() {
    assert!(client(&["--help"]).stdout.contains("Exit status"));
    assert!(
        client(&["completions", "bash"])
            .stdout
            .contains("--retries")
    );
    let manual = client(&["man"]).stdout;
    assert!(manual.contains(".TH client 1") && manual.contains(".TH client-check 1"));
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let server = Server::start(1, honest);
    let mut child = start(&["-c", "2", "-n", "5", &server.urls[0]]);
    drop(child.stdout.take());
    let ended = end_of(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
