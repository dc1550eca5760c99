//! Batches that one replica hands over to another, its peer, which stores them together with its own.
//!
//! One lock means one batch at a time, so several replicas that each fill batches of their own fill smaller ones, and wait
//! for each other. A replica with a peer leaves the lock to it: its batches travel as HTTP, and what the peer's callers sent
//! meanwhile goes into the same transaction.
//!
//! This is a matter of speed alone. There is no election, and nothing to agree on: a replica whose peer does not take a
//! batch, or does not answer in time, stores it by itself, with the same request ids. Those are unique in the table, whoever
//! stores first; who comes second finds the message there, and shows the same reply. What was given to a peer may be stored
//! at any later time, so until such a message is found or stored, a caller can be told 504 only, never 503.
//!
//! "In time" is [`Timeouts::patience`](crate::store::Timeouts::patience), or half of the time for which a caller still waits
//! if that is less; half of it for the answer to begin. The peer begins nothing later than half of that. A batch larger than
//! `--body-limit` is not handed over: it is large enough to be worth a transaction of its own. One for which the peer's queue
//! has not room enough is stored by its sender as well, and the next one handed over again.
//!
//! * [`Peer`]: the giving side, used by the writer; a thread asks whether the peer is there.
//! * `parcel.rs`: the taking side: the answers to the messages of a batch become one.
//! * `call.rs`: HTTP between them.
//! * `wire.rs`: what is said. No part of the contract with callers: it may change with any version, and a peer that does not
//!   understand it refuses.
//!
//! ```text
//! GET /batches?from=NAME   does the database show a lock of this name, which the asker holds? Then both work on the same
//!                          one. 200 with the name of the peer; 421 if not, or if the peer has a peer itself
//! POST /batches            messages with their request ids, to the peer of this name. 200 with all replies; 4xx or 503
//!                          if nothing of it is stored, 429 for want of room in the peer's queue; else nobody knows
//! ```
//!
//! A batch must name whom it is sent to, and that name is told only to those who can take a lock on the database server and
//! know the database's name. So a batch reaches no replica of another database, none that was started anew behind the same
//! address, and comes from no stranger. The way between the two must be direct: the answers of a proxy or balancer that
//! tries another replica would not mean what they mean here.

mod call;
mod parcel;
mod peer;
mod wire;

pub(crate) use call::Refusal;
pub(crate) use parcel::Share;
pub use peer::{Peer, PeerUrl};
pub use wire::{Batch, Welcome};
