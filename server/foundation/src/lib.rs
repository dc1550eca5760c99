//! What every server here stands on. A service is thin: its endpoints, its domain, its SQL.
//!
//! * [`telemetry`]: the log, incidents, the registry of metrics.
//! * [`http`]: the edge. Bytes in, a request to a [`http::Service`], a response out. Alone knows `tiny_http`.
//! * [`config`]: options that every server has.
//! * [`service`]: the life of a process: listen, signals, serve, finish.

pub mod telemetry;

pub mod http;

pub mod config;

pub mod service;
