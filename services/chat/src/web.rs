//! The web process: page and sockets on one port.
//!
//! A socket begins as an HTTP request, which the HTTP server checks and counts like all others. After the upgrade two threads
//! serve it: `event_loop` reads from all sockets and writes pending output; `tail` writes to all sockets in rooms. Neither
//! waits for a client, and `event_loop` does not wait for the database either. The threads of `join_pool` read history from the
//! database; they read the next part when the client's socket has taken the part before. Received messages go to `writer`,
//! which stores all queued messages in one transaction. `tail` polls the database for new messages of all rooms with sockets
//! here, whichever process stored them.

mod handshake;
mod page;
mod join;
mod socket;
mod rate_limit;
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
use socket::{JoinJob, Reason};
use writer::Writer;

/// Most sockets of one process. Each holds three descriptors and a sleeping thread of the HTTP server.
pub const MAX_SOCKETS: usize = 10_000;
/// Threads that read history, each for one socket at a time.
const JOIN_THREADS: usize = 8;
/// How long the server, when it stops, waits for the last frames to be sent before it cuts connections.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The reason that clients get when the server stops.
const SERVER_STOPS: Reason = (CloseCode::Away, "The server stops. Come back.");

/// The state that all threads share.
struct Shared {
    pool: Pool,
    rooms: Rooms,
    event_loop: EventLoop,
    writer: Writer,
    join_pool: ThreadPool<(Arc<Shared>, JoinJob)>,
    metrics: WebMetrics,
    /// The id of the next socket, unique in this process.
    next_socket_id: AtomicU64,
    stopping: AtomicBool,
}

/// The web process.
pub struct Web {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    tail: JoinHandle<()>,
    event_loop: JoinHandle<()>,
    /// The greeting thread ends when this is dropped.
    greeter: Sender<()>,
    allowed_origins: Vec<String>,
}

impl Web {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a thread or a descriptor cannot be created.
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
            join_pool: ThreadPool::new("join", JOIN_THREADS, |(shared, job)| {
                join::run(&shared, job);
            }),
            metrics: WebMetrics::new(registry),
            next_socket_id: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        // The tail ends after the writer, which drops `stored`.
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
        Endpoint::get("/chat/ws/{client_id}", Handler::Inline(open_socket)),
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

    /// From now on messages of clients are refused.
    fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Stores the accepted messages, sends them to the sockets, and closes these.
    fn finish(self, deadline: Instant) {
        drop(self.greeter);
        self.shared.writer.stop(deadline);
        let _panicked = (self.writer.join(), self.tail.join());
        // The join threads are not waited for, because the database may be away. They close the sockets that they add later.
        for socket in self.shared.event_loop.all() {
            event_loop::handle_status(&self.shared, &socket, socket.close(SERVER_STOPS));
        }
        let flush_deadline = deadline.min(Instant::now() + FLUSH_TIMEOUT);
        self.shared.event_loop.stop(flush_deadline);
        let _panicked = self.event_loop.join();
    }
}

/// `GET /chat/ws/{client_id}`: opens a socket.
fn open_socket(web: &Web, exchange: Exchange) {
    let accepted = handshake::accept(&exchange, &web.allowed_origins)
        .and_then(|(key, request)| Ok((key, request, web.shared.metrics.count_socket()?)));
    let (key, request, guard) = match accepted {
        Ok(accepted) => accepted,
        Err(problem) => return exchange.answer(problem),
    };
    let headers = vec![("Sec-WebSocket-Accept", key)];
    let shared = Arc::clone(&web.shared);
    exchange.upgrade("websocket", headers, move |connection| {
        let job = JoinJob::First(connection, request, guard);
        shared.join_pool.submit((Arc::clone(&shared), job));
    });
}
