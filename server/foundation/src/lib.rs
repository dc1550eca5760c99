//! What every server here stands on. A service is thin: its endpoints, its domain, its SQL.
//! A whole one stands in `examples/notes.rs`.
//!
//! * [`service`]: the life of a process: listen, signals, serve, finish, exit status.
//! * [`config`]: options that every server has, and how options are read.
//! * [`http`]: the edge. Bytes in, a request to a [`http::Service`], a response out. Alone knows `tiny_http`.
//! * [`mysql`]: the database: hosts, connections, set-up, what its errors mean.
//! * [`jobs`]: a durable queue in the database.
//! * [`telemetry`]: the log, incidents, the registry of metrics.
//! * [`thread_pool`]: threads for work that may block.
//! * [`backoff`]: pauses between tries.

pub mod service;
pub mod config;
mod values;
pub mod http;
pub mod mysql;
pub mod jobs;
pub mod telemetry;
pub mod thread_pool;
pub mod backoff;
