//! The chat as its users and operators see it: real processes on a real database.
//!
//! `DATABASE_URL` names a database server, MySQL or MariaDB, on which the user may create databases. Each test makes one
//! of its own and drops it at the end.

mod harness;

mod handshake;
mod rooms;
mod answers;
mod hostile;
mod life;
mod browser;
mod crashes;
mod history;
mod turns;
mod refusals;
mod commands;
