//! Tests of the planner as clients and operators see it: both services as processes, on a real database.
//!
//! `DATABASE_URL` names a database server, MySQL or MariaDB, on which the user may create databases. Each test creates its
//! own and drops them at the end. Every response and every log is searched for passwords and their hashes.

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
