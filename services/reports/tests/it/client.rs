//! The client against services that keep the contract, that fail, and that lie.

use std::process::{Command, Stdio};

use testbed::{Process, eventually, program};

use crate::harness::{Ran, run, run_unread};
use crate::stub::{Manner, Stub};

fn client(url: &str, options: &[&str]) -> Ran {
    let mut client = program("reports").expect("tests of the package build it");
    client
        .args(["client", "-u", url, "-p", "1,2"])
        .args(options);
    run(&mut client, "")
}

#[test]
fn reports_of_an_honest_service_are_valid_and_measured() {
    let stub = Stub::start(Manner::Honest);
    let ran = client(&stub.url(), &["-n", "20", "-c", "4"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for line in [
        "Result:  {\"correlation_id\"",
        "\nMax task work duration: 0.25\n",
        "\nMin task work duration: 0.25\n",
        "\nAverage task work duration: 0.250000\n",
        "\nTotal working time: ",
        "\nReports: 20, ",
        "\nLatency from POST to report: p50 ",
        "\nvalid: no report contradicts another, or itself\n",
    ] {
        assert!(ran.out.contains(line), "{line:?} is not in {}", ran.out);
    }
    assert_eq!(stub.tasks(), 20);
    assert!(stub.max_under_way() <= 4, "{stub:?}");
}

#[test]
fn a_service_that_does_not_hold_questions_is_asked_again() {
    let stub = Stub::start(Manner::Polled);
    let ran = client(&stub.url(), &["-n", "2"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let seconds = ran.out.split("Total working time: ").nth(1);
    let seconds: f64 = seconds
        .and_then(|rest| rest.lines().next()?.parse().ok())
        .expect("it is shown");
    assert!(
        seconds >= 1.0,
        "it was asked a third time after {seconds} s"
    );
}

#[test]
fn each_kind_of_lie_is_found() {
    for (lie, told) in [
        (Manner::OtherPrice, "0.51"),
        (
            Manner::OtherSum,
            "phone 2 has 6 attempts, and its classes another sum",
        ),
        (Manner::OtherCorrelation, "the report is for "),
        (Manner::PhoneMissing, "the report is for phones [1]"),
        (Manner::OtherOrder, "the report is for phones [2, 1]"),
        (Manner::NoReport, "this is no report"),
        (
            Manner::ReportMissing,
            "task task-3 is completed, and the report was answered with 404",
        ),
        (
            Manner::ReportPending,
            "task task-3 is completed, and the report was answered with 409",
        ),
        (
            Manner::OtherTask,
            "asked for task task-3, it answers with task task-4",
        ),
        (Manner::OtherState, "task task-3 has the state done"),
        (Manner::NoTaskId, "this is no task"),
    ] {
        let stub = Stub::start(lie);
        // One after the other: what the first says is what the lie contradicts.
        let ran = client(&stub.url(), &["-n", "10", "-c", "1"]);
        assert_eq!(ran.status, Some(1), "{lie:?} {ran:?}");
        assert!(
            ran.out.contains("INVALID: 1 contradictions"),
            "{lie:?} {ran:?}"
        );
        assert!(ran.out.contains(told), "{lie:?} {ran:?}");
    }
}

#[test]
fn what_fails_in_passing_is_sent_once_more_and_makes_no_second_task() {
    for manner in [Manner::Busy, Manner::HangsUpOnce] {
        let stub = Stub::start(manner);
        let ran = client(&stub.url(), &["-n", "5"]);
        assert_eq!(ran.status, Some(0), "{manner:?} {ran:?}");
        assert!(
            !ran.out.contains(" 0 requests sent once more"),
            "{manner:?} {ran:?}"
        );
        assert_eq!(stub.tasks(), 5, "{manner:?}");
    }
}

#[test]
fn without_any_report_nothing_is_judged() {
    // What comes too late may be the end of the task, or the answer to a question for it.
    for (manner, timeout, told) in [
        (
            Manner::Failing,
            "30s",
            &["the task ended as error: no luck"][..],
        ),
        (Manner::Slow, "3s", &["the task", "in time"]),
        (
            Manner::Refusing,
            "30s",
            &["422 Unprocessable Entity: They cannot be taken: see `faults`."],
        ),
        (Manner::Refusing, "30s", &["    {\"index\":0}"]),
    ] {
        let stub = Stub::start(manner);
        let ran = client(&stub.url(), &["-n", "3", "--timeout", timeout]);
        assert_eq!(ran.status, Some(5), "{manner:?} {ran:?}");
        assert!(ran.out.contains("Reports: 0, "), "{manner:?} {ran:?}");
        assert!(
            ran.out.ends_with(
                "
unknown: there is no report that could be judged
"
            ),
            "{manner:?} {ran:?}"
        );
        let tells = |line: &str| told.iter().all(|told| line.contains(told));
        assert!(ran.out.lines().any(tells), "{manner:?} {ran:?}");
    }
}

#[test]
fn a_service_that_is_not_there_is_told_before_the_run() {
    // Nobody listens there.
    let ran = client("http://127.0.0.1:9", &[]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.err.contains("no service can be reached"), "{ran:?}");
}

#[test]
fn a_command_line_that_cannot_be_is_refused() {
    for options in [
        ["-c", "0"],
        ["-n", "0"],
        ["-p", "x"],
        ["-u", "https://localhost"],
        ["--timeout", "0s"],
        ["-u", "127.0.0.1:8000"],
        ["-u", "localhost:8000"],
    ] {
        let mut client = program("reports").expect("tests of the package build it");
        let ran = run(client.arg("client").args(options), "");
        assert_eq!(ran.status, Some(2), "{options:?} {ran:?}");
        assert!(
            options[0] != "-u" || ran.err.contains("http://"),
            "{options:?} {ran:?}"
        );
    }
}

#[test]
fn an_interrupted_run_says_so_and_is_judged() {
    let stub = Stub::start(Manner::Polled);
    let mut client = program("reports").expect("tests of the package build it");
    client
        .args([
            "client",
            "-u",
            &stub.url(),
            "-p",
            "1,2",
            "-n",
            "100000",
            "-c",
            "2",
        ])
        .stdout(Stdio::null());
    let mut process = Process::start(&mut client).expect("it can be started");
    // The third report is begun when the first is there.
    eventually("some reports are there", || stub.tasks() > 2);
    let sent = Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status();
    assert!(sent.expect("kill can be started").success());
    let status = process.end(testbed::PATIENCE).expect("it is our child");
    assert_eq!(status.and_then(|status| status.code()), Some(130));
}

#[test]
fn a_client_whose_output_nobody_reads_ends_with_its_verdict() {
    for (manner, status) in [(Manner::Honest, 0), (Manner::OtherPrice, 1)] {
        let stub = Stub::start(manner);
        let mut client = program("reports").expect("tests of the package build it");
        client.args([
            "client",
            "-u",
            &stub.url(),
            "-p",
            "1,2",
            "-n",
            "10",
            "-c",
            "1",
        ]);
        let ran = run_unread(&mut client);
        assert_eq!((ran.status, &*ran.err), (Some(status), ""), "{ran:?}");
    }
}
