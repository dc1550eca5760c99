//! The upper limit of what the users' service can do: the same edge, the same routes, and a constant user from memory.
//!
//! `cargo run --release -p planner --example constant_user -- 127.0.0.1:8000`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundation::http::{
    Edge, EdgeLimits, Endpoint, Handler, Part, Problem, Response, Service, claim_descriptors,
    listen,
};
use foundation::telemetry::{self, LevelFilter, LogFormat, Program, Registry};

const USER: &str = r#"{"id":1,"login":"admin","first_name":"Admin","last_name":"Admin","role":"admin","created_at":"2026-11-27T02:33:50.019828Z"}"#;

struct Constant(Arc<Vec<u8>>);

impl Service for Constant {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[Endpoint::get(
        "/user/id-{id}",
        Handler::Inline(|constant, exchange| {
            let part = Part {
                before: "",
                buffer: Arc::clone(&constant.0) as _,
                range: 0..USER.len(),
                after: "",
            };
            exchange.answer(Response::from(part).with_header("ETag", "\"1\""));
        }),
    )];

    fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("give the address to listen on, like 127.0.0.1:8000")?;
    let limits = EdgeLimits {
        body_limit: 64 << 10,
        workers: 256,
        request_timeout: Duration::from_secs(10),
        shutdown_timeout: Duration::from_secs(10),
    };
    telemetry::start(LevelFilter::INFO, LogFormat::Text);
    claim_descriptors();
    let socket = listen(
        address.parse()?,
        Duration::from_secs(60),
        Duration::from_secs(5),
    )?;
    let registry = Registry::new(Program::new("constant", env!("CARGO_PKG_VERSION")));
    let edge = Edge::new(socket, limits, registry, Constant(Arc::new(USER.into())))?;
    tracing::info!(address = %edge.address()?, "ready");
    edge.serve()?;
    Ok(())
}
