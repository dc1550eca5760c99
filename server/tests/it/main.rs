//! The server as its clients and operators see it: real processes on a real database.
//!
//! `DATABASE_URL` names a database server, MySQL or MariaDB, on which the user may create databases. Each test makes one
//! of its own and drops it at the end.

mod abuse;
mod accounts;
mod altered;
mod any_text;
mod contract;
mod crashes;
mod cuts;
mod edge;
mod faults;
mod frozen;
mod hostile;
mod hosts;
mod life;
mod metrics;
mod openapi;
mod operator;
mod options;
mod outages;
mod overload;
mod packets;
mod replicas;
mod rights;
mod settings;
mod tls;
