//! The planner's process. No logic.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use foundation::config;
use foundation::service;
use foundation::telemetry::Program;
use planner::config::{Config, Service, UsersCommand};
use planner::goals::Goals;
use planner::users::{Users, rotation};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let config: Config = config::parse("PLANNER");
    match config.service {
        Service::Users(users) => {
            if let Err(fault) = users.check_secrets() {
                let error = Config::command().error(ErrorKind::ValueValidation, fault);
                error.exit();
            }
            if let Some(UsersCommand::RotateKey { after }) = users.command {
                return rotation::main(&users, after);
            }
            let program =
                Program::new("planner_users", VERSION).built_from(env!("DUMMY_MESSENGER_BUILD"));
            service::main(program, &users.server, |registry| {
                Users::start(&users, registry)
            })
        }
        Service::Goals(goals) => {
            let program =
                Program::new("planner_goals", VERSION).built_from(env!("DUMMY_MESSENGER_BUILD"));
            service::main(program, &goals.server, |registry| {
                Goals::start(&goals, registry)
            })
        }
    }
}
