//! The planner as clients and operators see it: both services as processes, on a real database.
//!
//! `DATABASE_URL` names a database server, MySQL or MariaDB, on which the user may create databases. Each test makes its own
//! and drops them at the end. Every answer of every test is looked through for passwords and their hashes, and every log.

mod harness;
mod relay;

mod walk;
mod starting;
mod users;
mod masks;
mod sessions;
mod logins;
mod tokens;
mod rotation;
mod cache;
mod goals;
mod outages;
mod hostile;
mod contracts;
