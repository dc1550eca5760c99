//! A small complete service: notes by name, each of which replaces the previous note of its name.
//!
//! ```sh
//! DATABASE_URL=mysql://user:password@127.0.0.1/notes cargo run -p foundation --example notes
//! curl -i --json '{"name":"to do","text":"Water the plants."}' 127.0.0.1:8001/notes
//! curl -i 127.0.0.1:8001/notes/to%20do
//! curl -i 127.0.0.1:8001/notes/nothing
//! ```

use std::process::ExitCode;
use std::time::Instant;

use foundation::config::{self, ServerArgs};
use foundation::http::{Endpoint, Exchange, Handler, Problem, Response, Service};
use foundation::mysql::{Access, Pool, Schema, has_relations};
use foundation::{service, telemetry::Program};
use mysql::{Conn, prelude::Queryable};
use serde::{Deserialize, Serialize};

const SCHEMA: Schema = Schema {
    sql: "CREATE TABLE IF NOT EXISTS notes (name VARBINARY(256) PRIMARY KEY, text MEDIUMTEXT NOT NULL)",
    is_complete: |connection| has_relations(connection, &["notes"]),
    fault: |_| Ok(None),
    connections: 4,
    rights: "grant this user SELECT, INSERT, UPDATE and DELETE on notes, and CREATE on the database",
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    name: String,
    text: String,
}

struct Notes(Pool);

impl Service for Notes {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::post("/notes", Handler::Blocking(store)),
        Endpoint::get("/notes/{name}", Handler::Blocking(show)),
    ];

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        let update = "UPDATE notes SET text = text WHERE name = '' AND FALSE";
        Ok(self.0.check_writable(deadline, update)?)
    }

    fn observe(&self) {
        self.0.observe();
    }
}

/// `POST /notes`. A client that does not learn whether its note was stored may send it again.
fn store(notes: &Notes, exchange: &Exchange) -> Result<Response, Problem> {
    let note: Note = exchange.json()?;
    if !(1..=64).contains(&note.name.chars().count()) {
        return Err(Problem::new(422, "`name` takes 1 to 64 characters."));
    }
    let shown = Response::json(&note);
    let replace = "REPLACE INTO notes (name, text) VALUES (?, ?)";
    let query =
        move |connection: &mut Conn| Ok(connection.exec_drop(replace, (note.name, note.text))?);
    notes.0.run(Access::Write, exchange.deadline(), query)?;
    Ok(shown)
}

/// `GET /notes/{name}`
fn show(notes: &Notes, exchange: &Exchange) -> Result<Response, Problem> {
    let name = exchange.parameter("name")?.into_owned();
    let select = "SELECT name, text FROM notes WHERE name = ?";
    let query = move |connection: &mut Conn| Ok(connection.exec_first(select, (name,))?);
    let found = notes.0.run(Access::Read, exchange.deadline(), query)?;
    let (name, text) = found.ok_or_else(|| Problem::new(404, "There is no note of this name."))?;
    Ok(Response::json(&Note { name, text }))
}

fn main() -> ExitCode {
    let options: ServerArgs = config::parse("NOTES");
    let program = Program::new("notes", env!("CARGO_PKG_VERSION"));
    service::main(program, &options, |registry| {
        let database = options.database.open(&SCHEMA, registry)?;
        Ok(Notes(database.pool("notes", SCHEMA.connections)))
    })
}
