//! Options from the environment. The tests take the options from the definition of the command line, so that none is missed.

use std::process::Output;

use clap::{Arg, ArgAction};

use crate::outputs::Folder;
use crate::program::{client_at, command, ended};
use crate::server::{Server, honest};

/// Returns every option that has a variable, and its subcommand, or none for an option of a run.
fn options() -> Vec<(Option<String>, Arg)> {
    let program = client::command();
    let run = program.get_arguments().map(|option| (None, option.clone()));
    let others = program.get_subcommands().flat_map(|command| {
        let name = command.get_name().to_owned();
        let options = command.get_arguments();
        options.map(move |option| (Some(name.clone()), option.clone()))
    });
    run.chain(others)
        .filter(|(_, option)| option.get_env().is_some())
        .collect()
}

/// A server and a history, so that each command can succeed.
struct Fixture {
    server: Server,
    folder: Folder,
}

impl Fixture {
    fn new() -> Self {
        let (server, folder) = (Server::start(1, honest), Folder::new());
        let history = folder.file("history.jsonl");
        client_at(&server.urls, &["-c", "1", "-n", "1", "--history", &history]);
        Self { server, folder }
    }

    /// Runs a command with one variable set, and a minimal load.
    fn run(&self, command_name: Option<&str>, variable: &str, value: &str) -> Output {
        let history = self.folder.file("history.jsonl");
        let arguments = match command_name {
            None => vec![self.server.urls[0].as_str()],
            Some("check") => vec!["check", &history],
            Some(other) => panic!("say here what `client {other}` needs"),
        };
        command(&arguments)
            .envs([("CLIENT_CONCURRENCY", "1"), ("CLIENT_REQUESTS", "1")])
            .env(variable, value)
            .output()
            .expect("the program starts")
    }

    fn accepts(&self, command_name: Option<&str>, option: &Arg, value: &str) -> Result<(), String> {
        let variable = option.get_env().and_then(|name| name.to_str());
        let variable = variable.expect("the names are ASCII");
        let output = self.run(command_name, variable, value);
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command_name:?} {variable}={value}: {stderr}"))
    }
}

/// Returns the errors of all options with these values.
fn faults(values: impl Fn(&Arg) -> Vec<String>) -> Vec<String> {
    let fixture = Fixture::new();
    let mut faults = Vec::new();
    for (command_name, option) in options() {
        for value in values(&option) {
            faults.extend(
                fixture
                    .accepts(command_name.as_deref(), &option, &value)
                    .err(),
            );
        }
    }
    faults
}

#[test]
fn every_option_of_a_run_has_a_variable_and_is_found() {
    let found = options();
    let has = |variable: &str| {
        let mut names = found.iter().filter_map(|(_, option)| option.get_env());
        names.any(|name| name == variable)
    };
    assert!(has("CLIENT_URLS") && has("CLIENT_QUIET"), "{found:?}");
    let program = client::command();
    let without: Vec<_> = program
        .get_arguments()
        .filter(|option| option.get_env().is_none())
        .map(|option| option.get_id().as_str())
        .filter(|id| !["help", "version"].contains(id))
        .collect();
    assert_eq!(without, Vec::<&str>::new());
}

#[test]
fn an_empty_variable_is_as_unset() {
    assert_eq!(faults(|_| vec![String::new()]), Vec::<String>::new());
}

#[test]
fn a_flag_takes_every_usual_word_for_yes_and_no() {
    let words = ["1", "0", "true", "FALSE", "Yes", "no", "on", "Off"];
    let found = faults(|option| match option.get_action() {
        ArgAction::SetTrue => words.map(str::to_owned).to_vec(),
        _ => Vec::new(),
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_word_of_a_list_is_known_in_capitals_too() {
    let found = faults(|option| {
        let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
        let words = option.get_possible_values().into_iter();
        let words = words.filter(|_| !is_flag);
        words.map(|word| word.get_name().to_uppercase()).collect()
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_flag_from_the_environment_means_what_it_says() {
    let fixture = Fixture::new();
    for (value, words) in [
        ("1", "not judged"),
        ("on", "not judged"),
        ("0", "valid"),
        ("", "valid"),
    ] {
        let output = fixture.run(None, "CLIENT_NO_CHECK", value);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.starts_with(words), "{value:?}: {output:?}");
    }
}

#[test]
fn a_wrong_variable_is_refused() {
    let fixture = Fixture::new();
    for (variable, value) in [("CLIENT_QUIET", "perhaps"), ("CLIENT_CONCURRENCY", "many")] {
        let output = fixture.run(None, variable, value);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn options_come_from_the_environment_too_and_the_command_line_wins() {
    let server = Server::start(1, honest);
    let environment = [
        ("CLIENT_CONCURRENCY", "3"),
        ("CLIENT_REQUESTS", "5"),
        ("CLIENT_URLS", server.urls[0].as_str()),
    ];
    let output = command(&["-n", "4"])
        .envs(environment)
        .output()
        .expect("the program starts");
    assert!(ended(output).stdout.contains("12 sent"));
    let output = command(&["-z", "100ms"])
        .envs(environment)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = command(&["-n", "4"])
        .envs(environment)
        .env("CLIENT_DURATION", "10m")
        .output()
        .expect("the program starts");
    assert!(ended(output).stdout.contains("12 sent"));
    let output = command(&["schema"])
        .envs(environment)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
