//! The planner: users, and their goals and tasks. Two services in one program, each with a database of its own.
//!
//! In reading order; what both have in common first:
//!
//! * [`config`]: options of both, from flags and environment.
//! * [`error`]: what can go wrong, and what the client sees of it.
//! * [`ids`]: the ids of what is stored, as types.
//! * [`text`]: texts of a bounded length, as the contracts take them.
//! * [`page`]: one page of a list.
//! * [`token`]: access tokens, signed and verified.
//! * `responses`: what requests are answered with beside success, for the contracts.
//! * [`users`]: who there is, who is logged in, and the keys by which others know that.
//! * [`goals`]: what users plan. Knows users only by their tokens.
//!
//! They stand on [`foundation`]: HTTP, connections to the database, the life of the process.

pub mod config;
pub mod error;
pub mod ids;
pub mod text;
pub mod page;
pub mod token;
mod responses;
pub mod users;
pub mod goals;
