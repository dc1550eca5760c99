//! What tests and measurements stand on: a service is started, a client run, a history read and a database broken here, in
//! one way each, for the tests of the server and for `./run.sh bench`, `chaos` and `cluster`. In reading order:
//!
//! * `process`: a child process that is killed, frozen and thawed, and what the kernel counts of it.
//! * [`mod@interruption`]: Ctrl-C, noticed by whoever waits.
//! * [`mod@tool`]: what the programs in `bin` have in common: progress, and the exit status.
//! * `service`: a program that is built beside this one, started, and waited for until it is ready.
//! * `replica`: the messenger as a service, and the two programs that it is compared with.
//! * `client_run`: the client at work, and its results.
//! * `history`: what a client wrote down of its requests.
//! * `audit`: a history against the tables.
//! * `statistics`: least, median and most.
//! * `measure`: contestants in interleaved rounds, and what is read in each.
//! * `database_process`: a database server of one's own, on data of its own.
//! * `upstream`: ways to a database, and URLs that lead another way.
//! * `packet`: the MySQL protocol, as far as it is looked at.
//! * `proxy`: stands between a replica and its database, knows where a transaction is, and cuts there.
//! * `ports`: addresses of servers that go away and come back.
//! * `network`: hosts of their own on this machine, with links that can be cut.
//! * `harness`: the parts for tests, which panic where a test fails. All others return errors.

mod process;

pub mod interruption;

pub mod tool;

mod service;

mod replica;

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
    reason = "a test may want no more of a step than that it is done"
)]
mod harness;

pub use audit::Audit;
pub use client_run::{ClientRun, Figures, Finished, Results, Total, client, persistent_client};
pub use database_process::DatabaseProcess;
pub use harness::{
    Answer, Caller, Database, Exchange, Load, OwnDatabase, PATIENCE, Replica, SetAtEnd,
    assert_promises, eventually, lasting_address, skip,
};
pub use history::{Outcome, Request, Shown, read_history};
pub use measure::{Amount, Contestant, Measurement, Meter, Traffic};
pub use network::{Link, Network};
pub use ports::lasting_addresses;
pub use process::{Process, Usage, resident_mb, usage};
pub use proxy::{Action, HostStatus, Interception, Part, Proxy, signal};
pub use replica::{constant, messenger, one_per_message};
pub use service::{Service, program};
pub use statistics::Spread;
pub use upstream::{Upstream, url_at};
