//! Command lines of the messenger, and of the two programs on the same HTTP edge that it is compared with.

use std::io;
use std::process::Command;

use crate::program;

/// Any free port of loopback.
const ANY_PORT: &str = "127.0.0.1:0";

/// The command line of a messenger replica for the database at this URL. It listens on any free port of loopback, unless an
/// added option says otherwise.
pub fn messenger(database_url: &str) -> io::Result<Command> {
    let mut command = program("server")?;
    // Not an argument, because every user of the machine can read those.
    command.envs([("LISTEN", ANY_PORT), ("DATABASE_URL", database_url)]);
    Ok(command)
}

/// The command line of a server on the same edge that returns a constant reply from memory.
pub fn constant() -> io::Result<Command> {
    let mut command = program("examples/constant")?;
    command.env("LISTEN", ANY_PORT);
    Ok(command)
}

/// The command line of a server on the same edge with one transaction per message, on so many connections.
pub fn one_per_message(database_url: &str, connections: u32) -> io::Result<Command> {
    let mut command = program("examples/one_per_message")?;
    command
        .arg(connections.to_string())
        .envs([("LISTEN", ANY_PORT), ("DATABASE_URL", database_url)]);
    Ok(command)
}
