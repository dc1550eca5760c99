//! The chat: rooms over WebSocket, an inner service that answers reversed, and proofs of work that anyone can check.
//!
//! Three processes meet only through the database, and there may be any number of each: `chat web` serves the page and the
//! sockets, `chat messager` answers, `chat worker` looks for proofs. A message goes through `web`, `message`, `store`,
//! `messager`, perhaps `worker` and `messager` again, `store`, `web`. In reading order:
//!
//! * [`config`]: subcommands and options, from flags and environment.
//! * [`message`]: what clients send, parsed; what is stored, rendered.
//! * [`question`]: what a message asks the inner service, and what that says to it.
//! * [`tasks`]: what the processes have each other do, through the queues.
//! * [`web`]: the outer process.
//! * [`messager`], [`worker`]: the inner ones.
//! * [`proof`]: the proof of work.
//! * [`store`]: all SQL.
//! * [`verify`]: checks proofs on the command line.
//! * [`load`]: clients that judge what they are shown.
//!
//! They stand on [`foundation`]: HTTP, connections to the database, the queue, the life of a process.
//!
//! # What keeps the promises
//!
//! 1. Who writes into a room first locks its row, and holds it to COMMIT. So `seq` has no hole, and whoever sees a number sees
//!    all before it: history and what is new are both read by number, and each socket is shown each number once.
//! 2. Every message has an id, unique in its room among those of its kind. What may have been stored is looked for by it
//!    under the lock, so a message, its answer and its proof are each stored once, however often they are written.
//! 3. A question enters the queue in the transaction that stores the message, and leaves it in the one that stores the answer.

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
