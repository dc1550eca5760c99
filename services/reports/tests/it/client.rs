//! The client against services that keep the contract, that fail, and that break the contract.

use std::process::{Command, Stdio};

use testbed::{Process, eventually, program};

use crate::harness::{Output, run, run_unread};
use crate::stub::{Behavior, Stub};

fn client(url: &str, options: &[&str]) -> Output {
    let mut client = program("reports").expect("tests of the package build it");
    client
        .args(["client", "-u", url, "-p", "1,2"])
        .args(options);
    run(&mut client, "")
}

#[test]
fn reports_of_an_honest_service_are_valid_and_measured() {
    let stub = Stub::start(Behavior::Honest);
    let output = client(&stub.url(), &["-n", "20", "-c", "4"]);
    assert_eq!(output.status, Some(0), "{output:?}");
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
        assert!(
            output.out.contains(line),
            "{line:?} is not in {}",
            output.out
        );
    }
    assert_eq!(stub.tasks(), 20);
    assert!(stub.max_in_progress() <= 4, "{stub:?}");
}

#[test]
fn a_service_that_does_not_hold_questions_is_asked_again() {
    let stub = Stub::start(Behavior::Polled);
    let output = client(&stub.url(), &["-n", "2"]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let seconds = output.out.split("Total working time: ").nth(1);
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
    for (behavior, message) in [
        (Behavior::OtherPrice, "0.51"),
        (
            Behavior::OtherSum,
            "phone 2 has 6 attempts, and its classes another sum",
        ),
        (Behavior::OtherCorrelation, "the report is for "),
        (Behavior::PhoneMissing, "the report is for phones [1]"),
        (Behavior::OtherOrder, "the report is for phones [2, 1]"),
        (Behavior::NoReport, "this is no report"),
        (
            Behavior::ReportMissing,
            "task task-3 is completed, and the report was answered with 404",
        ),
        (
            Behavior::ReportPending,
            "task task-3 is completed, and the report was answered with 409",
        ),
        (
            Behavior::OtherTask,
            "asked for task task-3, it answers with task task-4",
        ),
        (Behavior::OtherState, "task task-3 has the state done"),
        (Behavior::NoTaskId, "this is no task"),
    ] {
        let stub = Stub::start(behavior);
        // One report at a time, so that the first one, which others are compared with, is correct.
        let output = client(&stub.url(), &["-n", "10", "-c", "1"]);
        assert_eq!(output.status, Some(1), "{behavior:?} {output:?}");
        assert!(
            output.out.contains("INVALID: 1 contradictions"),
            "{behavior:?} {output:?}"
        );
        assert!(output.out.contains(message), "{behavior:?} {output:?}");
    }
}

#[test]
fn what_fails_in_passing_is_sent_once_more_and_makes_no_second_task() {
    for behavior in [Behavior::Busy, Behavior::DisconnectsOnce] {
        let stub = Stub::start(behavior);
        let output = client(&stub.url(), &["-n", "5"]);
        assert_eq!(output.status, Some(0), "{behavior:?} {output:?}");
        assert!(
            !output.out.contains(" 0 requests sent once more"),
            "{behavior:?} {output:?}"
        );
        assert_eq!(stub.tasks(), 5, "{behavior:?}");
    }
}

#[test]
fn without_any_report_nothing_is_judged() {
    // Either the task ends too late, or the response to a request for it comes too late.
    for (behavior, timeout, messages) in [
        (
            Behavior::Failing,
            "30s",
            &["the task ended as error: no luck"][..],
        ),
        (Behavior::Slow, "3s", &["the task", "in time"]),
        (
            Behavior::Refusing,
            "30s",
            &["422 Unprocessable Entity: They cannot be taken: see `faults`."],
        ),
        (Behavior::Refusing, "30s", &["    {\"index\":0}"]),
    ] {
        let stub = Stub::start(behavior);
        let output = client(&stub.url(), &["-n", "3", "--timeout", timeout]);
        assert_eq!(output.status, Some(5), "{behavior:?} {output:?}");
        assert!(
            output.out.contains("Reports: 0, "),
            "{behavior:?} {output:?}"
        );
        assert!(
            output.out.ends_with(
                "
unknown: there is no report that could be judged
"
            ),
            "{behavior:?} {output:?}"
        );
        let matches = |line: &str| messages.iter().all(|message| line.contains(message));
        assert!(output.out.lines().any(matches), "{behavior:?} {output:?}");
    }
}

#[test]
fn a_service_that_is_not_there_is_told_before_the_run() {
    // No service listens on this port.
    let output = client("http://127.0.0.1:9", &[]);
    assert_eq!(output.status, Some(3), "{output:?}");
    assert!(
        output.err.contains("no service can be reached"),
        "{output:?}"
    );
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
        let output = run(client.arg("client").args(options), "");
        assert_eq!(output.status, Some(2), "{options:?} {output:?}");
        assert!(
            options[0] != "-u" || output.err.contains("http://"),
            "{options:?} {output:?}"
        );
    }
}

#[test]
fn an_interrupted_run_says_so_and_is_judged() {
    let stub = Stub::start(Behavior::Polled);
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
    // With two in progress, the third begins when the first is finished.
    eventually("some reports are there", || stub.tasks() > 2);
    let sent = Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status();
    assert!(sent.expect("kill can be started").success());
    let status = process
        .wait_timeout(testbed::PATIENCE)
        .expect("it is our child");
    assert_eq!(status.and_then(|status| status.code()), Some(130));
}

#[test]
fn a_client_whose_output_nobody_reads_ends_with_its_verdict() {
    for (behavior, status) in [(Behavior::Honest, 0), (Behavior::OtherPrice, 1)] {
        let stub = Stub::start(behavior);
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
        let output = run_unread(&mut client);
        assert_eq!(
            (output.status, &*output.err),
            (Some(status), ""),
            "{output:?}"
        );
    }
}
