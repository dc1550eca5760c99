//! Options from the environment, the same way for every program.

use std::env;

use clap::builder::Resettable;
use clap::{Arg, Command};

/// Gives each option of `command` a variable: `--log-level` is `PREFIX_LOG_LEVEL`, unless the option names one of its own.
///
/// A variable that is empty is as unset, for that is what a compose file makes of `${VARIABLE:-}`. The values of
/// enumerations are taken in upper and in lower case.
#[must_use]
pub fn give_variables(command: Command, prefix: &str) -> Command {
    command.mut_args(|option| {
        let Some(variable) = variable(&option, prefix) else {
            return option;
        };
        let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
        let option = option.ignore_case(true);
        if is_empty {
            option.env(Resettable::Reset)
        } else {
            option.env(variable)
        }
    })
}

fn variable(option: &Arg, prefix: &str) -> Option<String> {
    let own = option.get_env().and_then(|name| name.to_str());
    let derived = || {
        let name = option.get_long()?.to_uppercase().replace('-', "_");
        Some(format!("{prefix}_{name}"))
    };
    own.map(str::to_owned).or_else(derived)
}
