//! Runs the client's binary.

use std::process::{Child, Command, Output, Stdio};

/// What the program printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the command for the program with these arguments, and without the caller's variables.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CLIENT_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn client(arguments: &[&str]) -> Ended {
    ended(command(arguments).output().expect("the program starts"))
}

/// Runs the program against a server to its end.
pub(crate) fn client_at(urls: &[String], arguments: &[&str]) -> Ended {
    let all: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(urls.iter().map(String::as_str))
        .collect();
    client(&all)
}

/// Starts the program; [`end_of`] returns what it prints.
pub(crate) fn start(arguments: &[&str]) -> Child {
    command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits for the end of the program.
pub(crate) fn end_of(child: Child) -> Ended {
    ended(child.wait_with_output().expect("it ends"))
}

pub(crate) fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("it prints UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("it prints UTF-8"),
    }
}

impl Ended {
    /// Returns the codes of the checks that found violations, as the text names them.
    pub(crate) fn violated_checks(&self) -> Vec<&str> {
        let lines = self
            .stdout
            .lines()
            .filter(|line| line.starts_with("INVALID"));
        lines
            .filter_map(|line| line.split_once('(')?.1.split_once(')'))
            .map(|(code, _)| code)
            .collect()
    }
}
