//! The foundation as clients and operators see it: the service of `examples/notes.rs` as a process, on a real database.
//!
//! `DATABASE_URL` names a database server, MySQL or MariaDB, on which the user may create databases. Each test makes one
//! of its own and drops it at the end.

mod harness;

mod requests;
mod bodies;
mod edge;
mod hostile;
mod jobs;
mod life;
mod metrics;
mod outages;
