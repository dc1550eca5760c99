//! The upper limit for a server on this HTTP edge: the same listener, thread pools and parsing of requests, and a constant reply
//! of the usual size from memory. No database.
//!
//! `cargo run --release -p server --example constant -- --listen 127.0.0.1:8001`

use std::time::Instant;

use chrono::DateTime;
use foundation::config;
use foundation::http::{Endpoint, Handler, Part, Problem, Service};
use foundation::service::{self, Failure};
use foundation::telemetry::{self, LevelFilter, LogFormat, Program};
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

fn main() -> Result<(), Failure> {
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
    telemetry::start(LevelFilter::INFO, LogFormat::Text);
    let program = Program::new("constant", server::VERSION).built_from(server::BUILD);
    service::serve(program, config::parse("CONSTANT"), |_| Ok(Constant(reply)))
}
