//! Options of every server, and how options are read: from flags, else from the environment.

use std::env;

use clap::builder::{OsStr, PossibleValuesParser, Resettable, TypedValueParser};
use clap::{Args, Command, Parser};

use crate::http::HttpArgs;
use crate::telemetry::{LevelFilter, LogFormat};

pub use crate::mysql::DatabaseArgs;
pub use crate::values::{at_least_one, duration};

/// The options of every server; also those of a server without others.
#[derive(Debug, Clone, Parser)]
#[command(about = None)]
pub struct ServerArgs {
    /// Options of the edge.
    #[command(flatten)]
    pub http: HttpArgs,

    /// Options of the database.
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// Options of the log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of the log.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogArgs {
    /// What to log, to stderr
    #[arg(long, default_value = "info", ignore_case = true, value_parser = log_level(), value_name = "LEVEL")]
    pub log_level: LevelFilter,

    /// For people, or one JSON object a line
    #[arg(
        long,
        default_value = "text",
        ignore_case = true,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

/// Parses the options of a program. Ends it if they are wrong, or after `--help`.
///
/// Each option without a variable of its own is also read from the variable `PREFIX_OPTION`: `--log-level` of the messenger from
/// `MESSENGER_LOG_LEVEL`; options of subcommands as well. An empty variable counts as unset, because `${VAR:-}` in a compose file
/// makes one.
#[must_use]
pub fn parse<C: Parser>(prefix: &str) -> C {
    let mut command = with_variables(C::command(), prefix);
    let mut matches = command.get_matches_mut();
    C::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

fn with_variables(command: Command, prefix: &str) -> Command {
    let command = command.mut_subcommands(|command| with_variables(command, prefix));
    command.mut_args(|option| {
        if option.get_long().is_none() {
            return option;
        }
        let variable = match option.get_env() {
            Some(own) => own.to_os_string(),
            None => format!("{prefix}_{}", option.get_id().as_str().to_uppercase()).into(),
        };
        if env::var_os(&variable).is_some_and(|value| value.is_empty()) {
            return option.env(Resettable::Reset);
        }
        option.env(OsStr::from(variable))
    })
}

/// Parses a log level by its name.
fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .map(|name| name.parse().expect("these are its names"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn each_option_has_a_variable_with_the_program_s_prefix_or_one_of_its_own() {
        let program = Command::new("notes").subcommand(ServerArgs::command().name("serve"));
        let program = with_variables(program, "NOTES");
        let command = program.find_subcommand("serve").expect("it has one");
        for option in command.get_arguments() {
            let variable = option.get_env().and_then(|name| name.to_str());
            let variable = variable.expect("it has one");
            assert!(
                ["LISTEN", "DATABASE_URL"].contains(&variable) || variable.starts_with("NOTES_"),
                "{variable}"
            );
        }
    }
}
