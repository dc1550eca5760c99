//! The DummyMessenger server: numbers and stores messages in one order, on any number of replicas over one database.
//!
//! A request travels downwards through these parts:
//!
//! * [`config`]: options, from flags and environment.
//! * [`log`]: lines for people or for programs.
//! * [`listener`]: the socket, and the nudge that keeps `tiny_http` from forgetting a connection.
//! * [`descriptors`]: how many connections fit, and what is kept back for when they are all taken.
//! * [`http`]: the edge. Bytes in, a typed request to a [`http::Service`], an answer out. Alone knows `tiny_http`.
//! * [`workers`]: the pools of threads for all that may block on a caller.
//! * [`message`]: what a caller sent, parsed; what is stored, rendered.
//! * [`messenger`]: the service. Puts messages into the writer's queue, reads pages of the history.
//! * [`writer`]: one thread a replica; combines what waits into one transaction.
//! * [`numbering`]: which number each message of a batch gets. Pure.
//! * [`store`]: all SQL, and what its errors mean.
//! * [`metrics`]: what is counted and timed on the way.
//! * [`error`]: what can go wrong, and what the caller sees of it.
//! * [`backoff`]: the pauses between tries.
//! * [`incident`]: what the caller's answer and the operator's log have in common.
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
//! # Beyond one cluster
//!
//! One total order costs one lock, and the lock is held from the moment the database grants it until COMMIT is durable:
//! one round trip, as numbers are given on the replica, and the commit itself. So with `b` messages in a batch
//!
//! ```text
//! messages a second = b / (round trip + commit)
//! ```
//!
//! whatever the number of replicas. `./run.sh bench --curves distance` agrees: without distance a batch of 18 took 1.3 ms.
//! With 5 ms to the database, batches of 19 make 19 / 6.3 ms = 3,020, and 3,035 were measured; with 20 ms, 19 / 21.3 ms =
//! 890, and 866 were measured. More callers make larger batches, up to
//! `--batch-messages`, so distance costs latency first. But the lock stays: at some size of batch the database's work per
//! message is all there is, and a larger machine the only answer.
//!
//! What grows is the number of *orders*. If messages belong to streams (rooms, tenants) and nobody needs an order across
//! them, each stream gets a lock row of its own: `counters(stream, user)`, the row `(stream, '')` in place of `''`, unique
//! keys `(stream, seq)` and `(stream, user, user_seq)`, a writer's batch per stream. All that is said above then holds for
//! each stream by itself; streams share nothing but the machine, and move to another one whole. What it would mean there:
//!
//! * **Vitess**: the stream's hash as primary vindex of both tables, so that a stream's transaction stays on one shard; one
//!   across shards is no longer atomic by default. Throughput grows with the shards; within a stream it is a MySQL's.
//!   <https://vitess.io/docs/reference/features/vindexes/>,
//!   <https://github.com/vitessio/vitess/issues/16245>
//! * **`TiDB`**: no choice of shard is needed, but `SELECT … FOR UPDATE` and COMMIT are consensus rounds between stores, and the
//!   rows of a stream's lock and of its newest messages are one region's hot spot. Its READ COMMITTED exists in
//!   pessimistic transactions only. <https://docs.pingcap.com/tidb/stable/pessimistic-transaction>
//! * **Galera**: row locks are not replicated, so two members give the same number and the loser learns of it at COMMIT, as
//!   1213. The unique keys and certification stop it, at the price of the whole batch; one member would have to do all
//!   writing, which is what Group Replication's single-primary mode is.
//!   <https://mariadb.com/docs/galera-cluster/galera-architecture/certification-based-replication>

pub mod config;
pub mod listener;
pub mod log;

pub mod descriptors;

pub mod http;

pub mod workers;

pub mod message;

pub mod messenger;

pub mod writer;

pub mod numbering;

pub mod store;

pub mod metrics;

pub mod backoff;
pub mod error;
pub mod incident;

/// Of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit from which it was built, or what `BUILD` said then; `unknown` without either.
pub const BUILD: &str = env!("DUMMY_MESSENGER_BUILD");
