//! The outer process: page and sockets on one port.
//!
//! A socket begins as an HTTP request of the edge, which checks and counts it as all others. When it has left HTTP, it
//! belongs to two threads: `event_loop` reads from all sockets, and writes what waits; `tail` writes to all that are in
//! rooms. Neither blocks, on a client or on the database. Threads of `joins` read the history of rooms, part by part as it is
//! written. What is read goes to `writer`, which stores it, together with what others said meanwhile, in one transaction.
//! What is stored by whomever, this process or another, is found by `tail`, which asks the database for what is new in the
//! rooms that somebody here is in.

mod handshake;
mod page;
mod join;
mod socket;
mod allowance;
mod event_loop;
mod rooms;
mod tail;
mod writer;
mod greeting;
mod metrics;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foundation::http::{Endpoint, Exchange, Handler, Problem, Service};
use foundation::mysql::{Database, Pool};
use foundation::service::Failure;
use foundation::telemetry::Registry;
use foundation::thread_pool::ThreadPool;
use tungstenite::protocol::frame::coding::CloseCode;

use event_loop::EventLoop;
use greeting::Greeter;
use metrics::WebMetrics;
use rooms::Rooms;
use socket::Joining;
use tail::Tail;
use writer::Writer;

/// Sockets of one process at most. Each holds three descriptors, and a thread of the edge that sleeps.
pub const MOST_SOCKETS: usize = 10_000;
/// Threads that read history, each for one socket at a time.
const JOIN_THREADS: usize = 8;
/// How long the last frames may take to leave when the server stops, before connections are cut.
const FAREWELL: Duration = Duration::from_secs(2);
/// What clients are told then.
const GOOD_BYE: &str = "The server stops. Come back.";

/// What all parts share.
struct Shared {
    pool: Pool,
    rooms: Rooms,
    event_loop: EventLoop,
    writer: Writer,
    tail: Tail,
    joins: ThreadPool<Joining>,
    metrics: WebMetrics,
    /// Names sockets in this process.
    next_socket: AtomicU64,
    stopping: AtomicBool,
}

/// The outer process.
pub struct Web {
    shared: Arc<Shared>,
    greeter: Greeter,
    allowed_origins: Vec<String>,
}

impl Web {
    /// Begins to work.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptor.
    pub fn start(
        database: &Database,
        allowed_origins: Vec<String>,
        registry: &Registry,
    ) -> Result<Self, Failure> {
        Self::begin(database, allowed_origins, registry)
            .map_err(|error| Failure::new(&format!("cannot start the chat: {error}")))
    }

    fn begin(
        database: &Database,
        allowed_origins: Vec<String>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let event_loop = EventLoop::new()?;
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            pool: database.pool("chat", crate::store::CONNECTIONS),
            rooms: Rooms::default(),
            event_loop,
            writer: Writer::default(),
            tail: Tail::default(),
            joins: {
                let shared = Weak::clone(shared);
                ThreadPool::new("join", JOIN_THREADS, move |joining: Joining| {
                    if let Some(shared) = shared.upgrade() {
                        join::run(&shared, joining);
                    }
                })
            },
            metrics: WebMetrics::new(registry),
            next_socket: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        writer::start(&shared, event_loop::refuse)?;
        tail::start(&shared)?;
        event_loop::start(&shared)?;
        let greeter = greeting::start(&shared)?;
        Ok(Self {
            shared,
            greeter,
            allowed_origins,
        })
    }
}

impl Service for Web {
    const ENDPOINTS: &'static [Endpoint<Self>] = &[
        Endpoint::get("/", Handler::Inline(page::lead)),
        Endpoint::get("/pages/{file}", Handler::Inline(page::show)),
        Endpoint::get("/chat/ws/{client_id}", Handler::Inline(open)),
        Endpoint::get("/docs", Handler::Inline(foundation_docs::page)),
        Endpoint::get("/docs/{file}", Handler::Inline(foundation_docs::file)),
    ];

    fn contract() -> Option<&'static str> {
        Some(page::contract())
    }

    fn ready(&self, deadline: Instant) -> Result<(), Problem> {
        let update = "UPDATE rooms SET last_seq = last_seq WHERE id = 0 AND FALSE";
        Ok(self.shared.pool.check_writable(deadline, update)?)
    }

    fn observe(&self) {
        self.shared.pool.observe();
        let (sockets, waiting) = (self.shared.event_loop.len(), self.shared.writer.len());
        self.shared.metrics.observe(sockets, waiting);
    }

    /// From now on nothing that clients send is taken.
    fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.greeter.stop();
    }

    /// Stores what was taken, shows it, and says good-bye.
    fn finish(self, deadline: Instant) {
        self.shared.writer.finish(deadline);
        self.shared.tail.finish();
        // Who is still to enter is told by the thread that sees to it, if not here: nobody waits for a database that is away.
        for socket in self.shared.event_loop.all() {
            let standing = socket.close(CloseCode::Away, GOOD_BYE);
            event_loop::settle(&self.shared, &socket, false, standing);
        }
        let farewell = deadline.min(Instant::now() + FAREWELL);
        self.shared.event_loop.finish(farewell);
    }
}

/// `GET /chat/ws/{client_id}`: opens a socket.
fn open(web: &Web, exchange: Exchange) {
    let accepted = handshake::accept(&exchange, &web.allowed_origins)
        .and_then(|accepted| Ok((accepted, web.shared.metrics.count_socket()?)));
    let (accepted, counted) = match accepted {
        Ok(accepted) => accepted,
        Err(problem) => return exchange.answer(problem),
    };
    let headers = vec![("Sec-WebSocket-Accept", accepted.key)];
    let shared = Arc::clone(&web.shared);
    let wanted = accepted.wanted;
    exchange.upgrade("websocket", headers, move |connection| {
        let joining = Joining::First(connection, wanted, counted);
        shared.joins.submit(joining);
    });
}
