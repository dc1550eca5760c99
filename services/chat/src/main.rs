//! The entry point of the chat's processes. No logic.

use std::io;
use std::process::ExitCode;

use chat::config::{Command, Config};
use chat::store::SCHEMA;
use chat::web::Web;
use chat::{load, messager, verify, worker};
use foundation::config::{self, ServerArgs};
use foundation::http::Service;
use foundation::mysql::Database;
use foundation::service::{self, Failure};
use foundation::telemetry::{Program, Registry};

fn main() -> ExitCode {
    let config: Config = config::parse("CHAT");
    match config.command {
        Command::Web(options) => {
            serve("chat_web", "chat", &options.server, |database, registry| {
                Web::start(database, options.allowed_origins.clone(), registry)
            })
        }
        Command::Messager(options) => serve(
            "chat_messager",
            "messager",
            &options.server,
            |database, registry| messager::start(database, options.reply_timeout, registry),
        ),
        Command::Worker(options) => serve(
            "chat_worker",
            "worker",
            &options.server,
            |database, registry| {
                worker::start(database, options.pow_bits, options.threads(), registry)
            },
        ),
        Command::Verify(options) => verify::run(&options),
        Command::Load(options) => load::run(&options),
    }
}

fn serve<S: Service>(
    name: &'static str,
    what: &str,
    options: &ServerArgs,
    start: impl FnOnce(&Database, &Registry) -> io::Result<S>,
) -> ExitCode {
    let program =
        Program::new(name, env!("CARGO_PKG_VERSION")).built_from(env!("DUMMY_MESSENGER_BUILD"));
    service::main(program, options, |registry| {
        let database = options.database.open(&SCHEMA, registry)?;
        start(&database, registry)
            .map_err(|error| Failure::new(&format!("cannot start the {what}: {error}")))
    })
}
