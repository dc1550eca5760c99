//! The database: its hosts, its connections, which are all set up alike, and its errors.
//!
//! Every statement is understood by MySQL and by MariaDB.

mod options;
mod timeouts;
mod setup;
mod url;
mod tls;
mod hosts;
mod primary;
mod session;
mod pool;
mod results;
mod error;
mod outage;
mod metrics;

pub use error::{DatabaseError, ErrorClass, Recovery};
pub use metrics::{DATABASE_SECONDS, PoolMetrics};
pub use options::DatabaseArgs;
pub use outage::{Access, DatabaseAway, Outage};
pub use pool::{Pool, Session};
pub use results::{Stopped, column, next_set, run_all, time, transaction};
pub use setup::{Database, Schema, SetupError, has_relations};
pub use timeouts::Timeouts;
pub use url::DatabaseUrls;
