//! The DummyMessenger server: numbers and stores messages in one order, on any number of replicas over one database.
//!
//! The parts in reading order; a POST goes through `api`, `message`, `writer`, `store`, `numbering`, `store`:
//!
//! * [`config`]: options, from flags and environment.
//! * [`api`]: the service and its endpoints; a new route goes here.
//! * [`message`]: what a client sent, parsed; what is stored, rendered.
//! * [`writer`]: one thread a replica; combines what waits into one transaction. Another answers what is late.
//! * [`numbering`]: which number each message of a batch gets. Pure.
//! * [`store`]: all SQL, and what is checked of the tables at start.
//! * [`error`]: what can go wrong, and what the client sees of it.
//! * [`metrics`]: what is counted and timed on the way.
//!
//! They stand on [`foundation`]: HTTP, connections to the database, the life of the process.
//!
//! # What keeps the promises
//!
//! 1. Every writer first locks the same row, `counters['']`, and holds it to COMMIT. InnoDB makes a transaction
//!    visible before it releases its locks, so whoever gets the lock sees all that was numbered before.
//! 2. Numbers come from the locked counters alone. A rollback takes the counters back together with the messages,
//!    so there is no hole.
//! 3. A reply is built from what the transaction read and wrote under the lock: the own message and its direct
//!    predecessors. It leaves after COMMIT has returned.
//! 4. Every message has a request id, unique in the table. When the outcome of a COMMIT is not known, the ids are looked up
//!    under the lock, and only what is absent is stored, with the same ids.
//! 5. A transaction that only found its messages writes too, so that its COMMIT flushes the log they stand in.
//!
//! What lies beyond one cluster: `server/README.md`.

pub mod config;
pub mod api;
pub mod message;
pub mod writer;
pub mod numbering;
pub mod store;
pub mod error;
pub mod metrics;

/// The version of this package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit from which it was built, or what `BUILD` said then; `unknown` without either.
pub const BUILD: &str = env!("DUMMY_MESSENGER_BUILD");
