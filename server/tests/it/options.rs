//! Options from the environment.

use std::process::{Command, Output};

use clap::CommandFactory;
use server::config::Config;

/// Each option, its variable, a value, and how the log shows it.
const OPTIONS: [(&str, &str, &str, &str); 16] = [
    ("listen", "LISTEN", "127.0.0.1:9", "listen=127.0.0.1:9"),
    (
        "database-url",
        "DATABASE_URL",
        "mysql://u@127.0.0.1:1/x",
        "database_url=mysql://u@127.0.0.1:1/x",
    ),
    ("workers", "MESSENGER_WORKERS", "7", "workers=7"),
    (
        "queue-messages",
        "MESSENGER_QUEUE_MESSAGES",
        "8",
        "queue_messages=8",
    ),
    (
        "batch-messages",
        "MESSENGER_BATCH_MESSAGES",
        "9",
        "batch_messages=9",
    ),
    (
        "batch-bytes",
        "MESSENGER_BATCH_BYTES",
        "10",
        "batch_bytes=10",
    ),
    ("body-limit", "MESSENGER_BODY_LIMIT", "11", "body_limit=11"),
    (
        "request-timeout",
        "MESSENGER_REQUEST_TIMEOUT",
        "12s",
        "request_timeout=12s",
    ),
    (
        "idle-timeout",
        "MESSENGER_IDLE_TIMEOUT",
        "13s",
        "idle_timeout=13s",
    ),
    (
        "send-timeout",
        "MESSENGER_SEND_TIMEOUT",
        "14s",
        "send_timeout=14s",
    ),
    (
        "connect-timeout",
        "MESSENGER_CONNECT_TIMEOUT",
        "15s",
        "connect_timeout=15s",
    ),
    (
        "database-timeout",
        "MESSENGER_DATABASE_TIMEOUT",
        "16s",
        "database_timeout=16s",
    ),
    (
        "startup-timeout",
        "MESSENGER_STARTUP_TIMEOUT",
        "1ms",
        "startup_timeout=1ms",
    ),
    (
        "shutdown-timeout",
        "MESSENGER_SHUTDOWN_TIMEOUT",
        "17s",
        "shutdown_timeout=17s",
    ),
    (
        "log-level",
        "MESSENGER_LOG_LEVEL",
        "DEBUG",
        "log_level=\"debug\"",
    ),
    (
        "log-format",
        "MESSENGER_LOG_FORMAT",
        "Text",
        "log_format=\"text\"",
    ),
];

/// Runs a server that finds no database.
fn run<'a>(arguments: &[&str], variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.env_remove("DATABASE_URL").args(arguments);
    let output = command.envs(variables).output();
    output.expect("the server's binary can be started")
}

#[test]
fn every_option_has_its_variable() {
    let all = Config::command();
    let mut names: Vec<_> = all
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .collect();
    names.retain(|name| !["help", "version"].contains(name));
    names.sort_unstable();
    let mut known = OPTIONS.map(|(option, ..)| option);
    known.sort_unstable();
    assert_eq!(names, known);

    let output = run(
        &[],
        OPTIONS.map(|(_, variable, value, _)| (variable, value)),
    );
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "no database: {log}");
    for (option, .., shown) in OPTIONS {
        assert!(log.contains(shown), "{option}: {log}");
    }
}

#[test]
fn an_empty_variable_is_as_unset() {
    let empty = || OPTIONS.map(|(_, variable, ..)| (variable, ""));
    let output = run(&[], empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--database-url"), "{errors}");

    let needed = [
        "--database-url=mysql://u@127.0.0.1:1/x",
        "--startup-timeout=1ms",
    ];
    let (empty, unset) = (run(&needed, empty()), run(&needed, []));
    let starting = |output: &Output| {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let start = log.find("starting ").expect("it logs its options");
        log[start..].lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(starting(&empty), starting(&unset));
}

#[test]
fn a_variable_without_the_prefix_is_another_program_s() {
    let others = OPTIONS.map(|(_, variable, ..)| {
        let name = variable.strip_prefix("MESSENGER_").unwrap_or("OTHER");
        (name, "what no option takes")
    });
    let needed = [
        "--database-url=mysql://u@127.0.0.1:1/x",
        "--startup-timeout=1ms",
    ];
    let output = run(&needed, others);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "no database: {log}");
}
