//! The upper limit of what a server on this edge can do: the same listener, pools and parsing, and a constant reply
//! of the usual size from memory. No database.
//!
//! `cargo run --release -p server --example constant -- 127.0.0.1:8001`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use server::http::{Edge, EdgeLimits, Exchange, PageRequest, Service};
use server::listener;
use server::message::{Message, RenderedHistory, Submission, Window};
use server::metrics::Metrics;

struct Constant(Window);

impl Service for Constant {
    fn post(&self, _post: Submission, exchange: Exchange) {
        exchange.answer(self.0.clone().into());
    }

    fn page(
        &self,
        _request: PageRequest,
        _deadline: Instant,
    ) -> Result<Vec<Message<'static>>, server::error::Error> {
        Ok(Vec::new())
    }

    fn ready(&self, _deadline: Instant) -> Result<(), server::error::Error> {
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
        body: 64 << 10,
        workers: 256,
        request_timeout: Duration::from_secs(10),
        shutdown_timeout: Duration::from_secs(10),
    };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let socket = listener::listen(
        address.parse()?,
        Duration::from_secs(60),
        Duration::from_secs(5),
    )?;
    Edge::new(socket, limits, Metrics::new())?.serve(Arc::new(Constant(reply)))?;
    Ok(())
}
