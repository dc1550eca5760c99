//! What every server here stands on. A service is thin: its endpoints, its domain, its SQL.
//!
//! * [`telemetry`]: the log, incidents, the registry of metrics.
//! * [`http`]: the edge. Bytes in, a request to a [`http::Service`], a response out. Alone knows `tiny_http`.

pub mod telemetry;

pub mod http;
