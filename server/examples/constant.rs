//! The upper limit of what a server on this edge can do: the same listener, pools and parsing, and a constant reply
//! of the usual size from memory. No database.
//!
//! `cargo run --release -p server --example constant -- 127.0.0.1:8001`

use std::error::Error;
use std::time::{Duration, Instant};

use chrono::DateTime;
use foundation::http::{
    Edge, EdgeLimits, Endpoint, Handler, Part, Problem, Service, claim_descriptors, listen,
};
use foundation::telemetry::{self, LevelFilter, LogFormat, Program, Registry};
use server::message::{Message, RenderedHistory};

struct Constant(Part);

impl Service for Constant {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[Endpoint::post(
        "/messages",
        Handler::Inline(|constant, exchange| exchange.answer(constant.0.clone())),
    )];

    fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("give the address to listen on, like 127.0.0.1:8001")?;
    let messages: Vec<_> = (991..=1000)
        .map(|seq| Message {
            seq,
            user: "somebody".into(),
            user_seq: seq / 10,
            text: "a text of some thirty characters".into(),
            sent_at: DateTime::UNIX_EPOCH,
        })
        .collect();
    let reply = RenderedHistory::new(&messages).window(messages.len() - 1);
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
    let program = Program::new("constant", server::VERSION).built_from(server::BUILD);
    let registry = Registry::new(program);
    let edge = Edge::new(socket, limits, registry, Constant(reply))?;
    tracing::info!(address = %edge.address()?, "ready");
    edge.serve()?;
    Ok(())
}
