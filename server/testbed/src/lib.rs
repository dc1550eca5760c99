//! Common code of tests and measurements: starts services, runs clients, reads histories and injects faults into databases,
//! for the tests of all services and for `./run.sh bench`, `chaos` and `cluster`. In reading order:
//!
//! * `process`: a child process that can be killed, frozen and thawed; its CPU time and memory.
//! * [`mod@interruption`]: Ctrl-C, noticed while waiting.
//! * [`mod@tool`]: progress messages and exit statuses of the programs in `bin`.
//! * `service`: starts a program of this workspace, and waits until it is ready.
//! * `commands`: command lines of the messenger, and of the two programs that it is compared with.
//! * `client_run`: runs the client, and parses its results.
//! * `history`: reads the history file that a client wrote of its requests.
//! * `audit`: compares a history with the tables.
//! * `statistics`: minimum, median and maximum.
//! * `measure`: measures targets in interleaved rounds.
//! * `database_process`: a private database server with data of its own.
//! * `upstream`: the address of a database, and the same URL with another address.
//! * `packet`: the part of the MySQL protocol that the proxy needs.
//! * `proxy`: a proxy between a replica and its database, which can cut a transaction at an exact statement.
//! * `ports`: addresses for servers that are restarted.
//! * `network`: virtual hosts on this machine, with links that can be cut.
//! * `harness`: helpers for tests, which panic if a step fails. All other modules return errors.

mod process;

pub mod interruption;

pub mod tool;

mod service;

mod commands;

mod client_run;

mod history;

mod audit;

mod statistics;

mod measure;

mod database_process;

mod upstream;

mod packet;

mod proxy;

mod ports;

mod network;

#[expect(
    clippy::must_use_candidate,
    reason = "a test may need a step but not its result"
)]
mod harness;

pub use audit::Audit;
pub use client_run::{ClientRun, Figures, FinishedRun, Results, Total, client, persistent_client};
pub use commands::{constant, messenger, one_per_message};
pub use database_process::DatabaseProcess;
pub use harness::{
    Answer, Database, Exchange, HttpClient, Load, OwnDatabase, PATIENCE, Replica, SetAtEnd,
    assert_promises, eventually, skip, stable_address,
};
pub use history::{Message, Outcome, Request, read_history};
pub use measure::{Amount, Measurement, Meter, Target, Workload};
pub use network::{Link, Network};
pub use ports::stable_addresses;
pub use process::{Process, Usage, resident_mb, usage};
pub use proxy::{Action, HostStatus, Interception, Part, Proxy, signal};
pub use service::{Service, program};
pub use statistics::Spread;
pub use upstream::{Upstream, url_at};
