//! What breaks on purpose, and what is started for it, for the server's tests and for `./run.sh bench`, `chaos` and `cluster`:
//!
//! * [`Process`]: a child that is killed, frozen and thawed.
//! * [`mod@interruption`]: Ctrl-C, noticed by whoever waits.
//! * [`is_ready`]: whether a replica takes messages.
//! * [`requests_of`]: what a client wrote down of its requests.
//! * [`DatabaseProcess`]: a database server of one's own, on data of its own.
//! * [`Proxy`]: stands between a replica and its database, knows where a transaction is, and cuts there.
//! * [`Network`]: hosts of their own on this machine, with links that can be cut.

mod process;

pub mod interruption;

mod replica;

mod history;

mod database;

mod proxy;

mod network;

pub use database::DatabaseProcess;
pub use history::requests_of;
pub use network::{Link, Network};
pub use process::Process;
pub use proxy::{Action, Interception, Part, Proxy};
pub use replica::is_ready;
