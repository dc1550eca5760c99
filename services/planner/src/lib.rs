//! The planner: users, and their goals and tasks. Two services in one program, each with its own database.
//!
//! In reading order, with what both services share first:
//!
//! * [`config`]: options of both services, from flags and environment.
//! * [`error`]: what can go wrong, and what the client is told.
//! * [`ids`]: types for the ids of users, goals and tasks.
//! * [`text`]: checks of texts and logins, and case folding.
//! * [`page`]: one page of a list.
//! * [`token`]: access tokens, signed and verified.
//! * `responses`: error responses that endpoints share, for the contracts.
//! * [`users`]: users, their sessions, and the keys that sign tokens.
//! * [`goals`]: goals and tasks. Knows users only by their tokens.
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
