//! The DummyMessenger server: numbers and stores messages in one order, on any number of replicas over one database.
//!
//! The parts in reading order; a POST goes through `api`, `message`, `writer`, `store`, `numbering`, `store`:
//!
//! * [`config`]: options, from flags and environment.
//! * [`api`]: the service and its endpoints; a new route goes here.
//! * [`message`]: what a client sent, parsed; what is stored, rendered.
//! * [`writer`]: one thread per replica stores all queued messages in one transaction; another answers those that are late.
//! * [`numbering`]: gives each message of a batch its number. Pure.
//! * [`store`]: all SQL, and what is checked of the tables at start.
//! * [`error`]: what can go wrong, and what the client is told.
//! * [`metrics`]: what is counted and timed.
//!
//! They stand on [`foundation`]: HTTP, connections to the database, the life of the process.
//!
//! # What keeps the promises
//!
//! 1. Every writer first locks the same row, `counters['']`, and holds the lock until COMMIT. InnoDB makes a transaction
//!    visible before it releases its locks, so the next writer sees all that was numbered before.
//! 2. Numbers come from the locked counters alone. A rollback takes the counters back together with the messages,
//!    so there is no hole.
//! 3. A reply is built from what the transaction read and wrote under the lock: the own message and its direct
//!    predecessors. It is sent after COMMIT has returned.
//! 4. Every message has a request id, unique in the table. If the outcome of a COMMIT is unknown, the ids are looked up under
//!    the lock, and only messages that are absent are stored, with the same ids.
//! 5. A transaction that only finds its messages writes as well, so that its COMMIT flushes the log that contains them.
//!
//! Replication beyond one cluster: `server/README.md`.

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
