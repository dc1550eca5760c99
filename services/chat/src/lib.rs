//! The chat: rooms over WebSocket, an inner service that answers reversed, and proofs of work that anyone can check.
//!
//! Three kinds of processes communicate only through the database, and there may be any number of each: `chat web` serves the
//! page and the sockets, `chat messager` answers messages, `chat worker` computes proofs. A message passes through `web`,
//! `message`, `store`, `messager`, for a proof `worker` and `messager` again, `store`, `web`. In reading order:
//!
//! * [`config`]: subcommands and options, from flags and environment.
//! * [`message`]: parses what clients send, and renders what is stored.
//! * [`question`]: what a message asks the inner service, and its answers.
//! * [`tasks`]: the tasks that the processes give each other through queues.
//! * [`web`]: the web process, the only one that clients reach.
//! * [`messager`], [`worker`]: the inner service.
//! * [`proof`]: the proof of work.
//! * [`store`]: all SQL.
//! * [`verify`]: checks proofs on the command line.
//! * [`load`]: a load generator whose clients check what they receive.
//!
//! They are built on [`foundation`]: HTTP, connections to the database, the queue, the life of a process.
//!
//! # What keeps the promises
//!
//! 1. Every transaction that writes into a room first locks its row, and holds the lock until COMMIT. So `seq` has no gap, and
//!    whoever reads a number can read all before it. History and new messages are read by number: each socket gets each once.
//! 2. Every message has an id, unique in its room among messages of its kind. Under the lock, each write first looks for its
//!    id, so a message, its answer and its proof are each stored once, however often the write is repeated.
//! 3. A question is enqueued in the transaction that stores the message, and dequeued in the one that stores the answer.

pub mod config;
pub mod message;
pub mod question;
pub mod tasks;
pub mod web;
pub mod messager;
pub mod worker;
pub mod proof;
pub mod store;
pub mod verify;
pub mod load;
