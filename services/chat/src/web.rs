//! The outer process: page and sockets on one port.
//!
//! A socket begins as an HTTP request of the edge, which checks and counts it as all others. When it has left HTTP, it
//! belongs to two threads: `event_loop` reads from all sockets, and writes what waits; `tail` writes to all that are in
//! rooms. Neither waits for a client, and `event_loop` not for the database either. Threads of `joins` read the history of rooms, part by part as it is
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use foundation::http::{Endpoint, Exchange, Handler, Problem, Service};
use foundation::mysql::{Database, Pool};
use foundation::telemetry::Registry;
use foundation::thread_pool::ThreadPool;
use tungstenite::protocol::frame::coding::CloseCode;

use event_loop::EventLoop;
use metrics::WebMetrics;
use rooms::Rooms;
use socket::{Joining, Reason};
use writer::Writer;

/// Sockets of one process at most. Each holds three descriptors, and a thread of the edge that sleeps.
pub const MAX_SOCKETS: usize = 10_000;
/// Threads that read history, each for one socket at a time.
const JOIN_THREADS: usize = 8;
/// How long the last frames may take to leave when the server stops, before connections are cut.
const FAREWELL: Duration = Duration::from_secs(2);
/// What clients are told then.
const GOOD_BYE: Reason = (CloseCode::Away, "The server stops. Come back.");

/// What all parts share.
struct Shared {
    pool: Pool,
    rooms: Rooms,
    event_loop: EventLoop,
    writer: Writer,
    joins: ThreadPool<(Arc<Shared>, Joining)>,
    metrics: WebMetrics,
    /// Names sockets in this process.
    next_socket: AtomicU64,
    stopping: AtomicBool,
}

/// The outer process.
pub struct Web {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    tail: JoinHandle<()>,
    event_loop: JoinHandle<()>,
    /// The thread that greets ends when this is gone.
    greeter: Sender<()>,
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
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            pool: database.pool("chat", crate::store::CONNECTIONS),
            rooms: Rooms::default(),
            event_loop: EventLoop::new()?,
            writer: Writer::new(),
            joins: ThreadPool::new("join", JOIN_THREADS, |(shared, joining)| {
                join::run(&shared, joining);
            }),
            metrics: WebMetrics::new(registry),
            next_socket: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        // The tail ends after the writer, whose side is gone then.
        let (stored, news) = bounded(1);
        let (greeter, stopped) = bounded(0);
        let write = move |shared: &_| writer::run(shared, &stored, event_loop::refuse);
        spawn(&shared, "greeter", move |shared| {
            greeting::run(shared, &stopped);
        })?;
        Ok(Self {
            writer: spawn(&shared, "writer", write)?,
            tail: spawn(&shared, "tail", move |shared| tail::run(shared, &news))?,
            event_loop: spawn(&shared, "event-loop", event_loop::run)?,
            greeter,
            allowed_origins,
            shared,
        })
    }
}

fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    run: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(&shared))
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
        let (sockets, writer) = (self.shared.event_loop.all(), &self.shared.writer);
        self.shared.metrics.observe(sockets.len(), writer.len());
    }

    /// From now on nothing that clients send is taken.
    fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Stores what was taken, shows it, and says good-bye.
    fn finish(self, deadline: Instant) {
        drop(self.greeter);
        self.shared.writer.stop(deadline);
        let _panicked = (self.writer.join(), self.tail.join());
        // Who is still to enter is told by the thread that sees to it, if not here: nobody waits for a database that is away.
        for socket in self.shared.event_loop.all() {
            event_loop::settle(&self.shared, &socket, socket.close(GOOD_BYE));
        }
        let farewell = deadline.min(Instant::now() + FAREWELL);
        self.shared.event_loop.stop(farewell);
        let _panicked = self.event_loop.join();
    }
}

/// `GET /chat/ws/{client_id}`: opens a socket.
fn open(web: &Web, exchange: Exchange) {
    let accepted = handshake::accept(&exchange, &web.allowed_origins)
        .and_then(|(key, wanted)| Ok((key, wanted, web.shared.metrics.count_socket()?)));
    let (key, wanted, counted) = match accepted {
        Ok(accepted) => accepted,
        Err(problem) => return exchange.answer(problem),
    };
    let headers = vec![("Sec-WebSocket-Accept", key)];
    let shared = Arc::clone(&web.shared);
    exchange.upgrade("websocket", headers, move |connection| {
        let joining = Joining::First(connection, wanted, counted);
        shared.joins.submit((Arc::clone(&shared), joining));
    });
}
