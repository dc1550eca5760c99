//! What breaks on purpose, for the server's tests and for `./run.sh chaos`:
//!
//! * [`Process`]: a child that is killed, frozen and thawed.
//! * [`DatabaseProcess`]: a database server of one's own, on data of its own.
//! * [`Proxy`]: stands between a replica and its database, knows where a transaction is, and cuts there.

mod process;

mod database;

mod proxy;

pub use database::DatabaseProcess;
pub use process::Process;
pub use proxy::{Action, Interception, Part, Proxy};
