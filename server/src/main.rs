//! The server's process. No logic.

use std::process::ExitCode;
use std::sync::Arc;

use foundation::config;
use foundation::service::{self, Failure};
use foundation::telemetry::{Program, Registry};
use server::api::Messenger;
use server::config::Config;
use server::metrics::WriterMetrics;
use server::store::{SCHEMA, Store};
use server::writer::Writer;
use server::{BUILD, VERSION};

fn main() -> ExitCode {
    let config: Config = config::parse("MESSENGER");
    let program = Program::new("dummy_messenger", VERSION).built_from(BUILD);
    service::main(program, &config.server, |registry| start(&config, registry))
}

fn start(config: &Config, registry: &Registry) -> Result<Messenger, Failure> {
    config.log();
    let database = config.server.database.open(&SCHEMA, registry)?;
    let metrics = Arc::new(WriterMetrics::new(registry));
    let store = Store::new(database);
    let writer = Writer::start(store.clone(), config.writer, metrics)
        .map_err(|error| Failure::new(&format!("cannot start the writer: {error}")))?;
    Ok(Messenger { store, writer })
}
