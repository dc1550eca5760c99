//! The baseline of the benchmark: the same HTTP edge and the route of the users' service, with a constant user as response.
//!
//! `cargo run --release -p planner --example constant_user -- --listen 127.0.0.1:8000`

use std::sync::Arc;
use std::time::Instant;

use foundation::config;
use foundation::http::{Endpoint, Handler, Part, Problem, Response, Service};
use foundation::service::{self, Failure};
use foundation::telemetry::{self, LevelFilter, LogFormat, Program};

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

fn main() -> Result<(), Failure> {
    telemetry::start(LevelFilter::INFO, LogFormat::Text);
    let program = Program::new("constant", env!("CARGO_PKG_VERSION"));
    service::serve(program, config::parse("CONSTANT"), |_| {
        Ok(Constant(Arc::new(USER.into())))
    })
}
