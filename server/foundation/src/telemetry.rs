//! Telemetry: the log, incidents, metrics.

mod incident;
mod log;
mod metrics;

pub use incident::{Incident, Reporter};
pub use log::{LogFormat, start};
pub use metrics::{Program, Registry, TEXT_FORMAT, size};
pub use tracing::level_filters::LevelFilter;
