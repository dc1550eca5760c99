//! An in-memory server with several replicas over one log. With [`honest`] it keeps every promise; other behaviours break one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// A message as it is on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Message {
    pub(crate) seq: u64,
    pub(crate) user: String,
    pub(crate) user_seq: u64,
    pub(crate) text: String,
    pub(crate) sent_at: String,
}

/// A request to a replica.
#[derive(Debug)]
pub(crate) struct Post {
    /// The number of the replica, from 0.
    pub(crate) replica: usize,
    /// How many requests the replicas had received before.
    pub(crate) number: u64,
    pub(crate) user: String,
    pub(crate) text: String,
    pub(crate) key: Option<String>,
}

/// An answer of a replica.
#[derive(Debug)]
pub(crate) enum Answer {
    Messages(Vec<Message>),
    /// A replica's own answer: JSON with 200, else a problem document.
    Raw(u16, String),
    /// An answer of a proxy in front of the replica, with this status and no problem document.
    Proxy(u16),
    /// A 200 with this Content-Type.
    Typed(&'static str, Vec<u8>),
    /// These bytes, which need not be HTTP; then the connection is closed.
    Bytes(&'static [u8]),
    /// No answer: the connection is closed.
    Close,
    /// No answer: the connection stays open.
    Stall,
}

/// An address without a listener. It stays bound, so that no other process gets it.
pub(crate) struct UnusedAddress {
    pub(crate) urls: Vec<String>,
    _bound: TcpSocket,
}

impl UnusedAddress {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(([127, 0, 0, 1], 0).into())
            .expect("a free port");
        let address = socket.local_addr().expect("an address");
        Self {
            urls: vec![format!("http://{address}")],
            _bound: socket,
        }
    }
}

/// How a server answers: [`honest`], or a behaviour that breaks a promise.
pub(crate) type Behaviour = fn(&mut Log, &Post) -> Answer;

/// How a replica answers `GET /messages`: [`honest_page`], or a behaviour that breaks a promise.
pub(crate) type PageBehaviour = fn(&Log, usize) -> Answer;

/// The database of all replicas.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) messages: Vec<Message>,
    pub(crate) counters: HashMap<String, u64>,
    pub(crate) keys: HashMap<String, usize>,
    /// The logs of a faulty server whose replicas each have their own.
    pub(crate) by_replica: HashMap<usize, Log>,
    /// How many pages were requested.
    pub(crate) pages: u64,
}

impl Log {
    /// Returns whether this is a repetition of a request whose message is stored.
    pub(crate) fn is_repetition(&self, post: &Post) -> bool {
        let mut key = post.key.iter();
        key.any(|key| self.keys.contains_key(key))
    }

    /// Stores a message, unless its key is stored already, and returns its index.
    pub(crate) fn store(&mut self, post: &Post) -> usize {
        if let Some(place) = post.key.as_ref().and_then(|key| self.keys.get(key)) {
            return *place;
        }
        let place = self.messages.len();
        let counter = self.counters.entry(post.user.clone()).or_default();
        *counter += 1;
        self.messages.push(Message {
            seq: place as u64 + 1,
            user: post.user.clone(),
            user_seq: *counter,
            text: post.text.clone(),
            sent_at: time(place as u64),
        });
        if let Some(key) = &post.key {
            self.keys.insert(key.clone(), place);
        }
        place
    }

    /// Returns the last ten messages up to this index.
    pub(crate) fn window(&self, place: usize) -> Vec<Message> {
        self.messages[(place + 1).saturating_sub(10)..=place].to_vec()
    }
}

/// Formats the date of message number `number`; later messages have later dates.
pub(crate) fn time(number: u64) -> String {
    let (second, micro) = (number / 1000, number % 1000 * 1000);
    format!(
        "2026-11-20T{:02}:{:02}:{:02}.{micro:06}Z",
        second / 3600 % 24,
        second / 60 % 60,
        second % 60
    )
}

/// Answers like a server that keeps every promise.
pub(crate) fn honest(log: &mut Log, post: &Post) -> Answer {
    let place = log.store(post);
    Answer::Messages(log.window(place))
}

/// Answers with the last hundred messages.
pub(crate) fn honest_page(log: &Log, replica: usize) -> Answer {
    let log = log.by_replica.get(&replica).unwrap_or(log);
    Answer::Messages(log.messages[log.messages.len().saturating_sub(100)..].to_vec())
}

/// Running replicas, which stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) urls: Vec<String>,
    log: SharedLog,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(replicas: usize, behaviour: Behaviour) -> Self {
        Self::start_with_pages(replicas, behaviour, honest_page)
    }

    pub(crate) fn start_with_pages(
        replicas: usize,
        behaviour: Behaviour,
        page: PageBehaviour,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (addresses, listeners): (Vec<SocketAddr>, Vec<TcpListener>) = (0..replicas)
            .map(|_| {
                let listener = runtime
                    .block_on(TcpListener::bind("127.0.0.1:0"))
                    .expect("a free port");
                (listener.local_addr().expect("an address"), listener)
            })
            .unzip();
        let (stop, stopped) = oneshot::channel();
        let log = SharedLog::default();
        let shared = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                for (replica, listener) in listeners.into_iter().enumerate() {
                    tokio::spawn(accept(
                        listener,
                        replica,
                        Arc::clone(&shared),
                        (behaviour, page),
                    ));
                }
                // The sender is dropped together with the server, also if the test panics.
                drop(stopped.await);
            });
        });
        let urls = addresses
            .iter()
            .map(|address| format!("http://{address}"))
            .collect();
        Self {
            urls,
            log,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns how many requests were received.
    pub(crate) fn requests(&self) -> u64 {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Returns how many pages were requested.
    pub(crate) fn pages(&self) -> u64 {
        let log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.0.pages
    }

    /// Waits until this many requests were received.
    pub(crate) fn wait_for(&self, requests: u64) {
        let (log, arrived) = &*self.log;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = arrived.wait_timeout_while(log, DEADLINE, |(_, number)| *number < requests);
        let (log, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(log.1 >= requests, "{requests} requests were expected");
    }
}

/// The longest time that a test waits for requests; after that, it fails.
const DEADLINE: Duration = Duration::from_secs(30);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The log, how many requests were received, and a condition variable that each request notifies.
type SharedLog = Arc<(Mutex<(Log, u64)>, Condvar)>;

async fn accept(
    listener: TcpListener,
    replica: usize,
    log: SharedLog,
    behaviours: (Behaviour, PageBehaviour),
) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        tokio::spawn(serve(stream, replica, Arc::clone(&log), behaviours));
    }
}

#[derive(Deserialize)]
struct Body {
    user: String,
    text: String,
}

/// A received request: its first line and headers, and its body.
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }

    /// Reads the next request of a connection, of which `bytes` were read before; none at the end of the connection.
    async fn next(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Self> {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            read(stream, bytes).await?;
        };
        let mut received = Self {
            head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
            body: Vec::new(),
        };
        let length = received.header("content-length").unwrap_or("0");
        let length: usize = length.parse().ok()?;
        while bytes.len() < end + length {
            read(stream, bytes).await?;
        }
        received.body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        Some(received)
    }
}

/// Returns the replica's answer to a request; none if its body is not a message.
fn answer(
    received: &Received,
    replica: usize,
    log: &SharedLog,
    (behaviour, page): (Behaviour, PageBehaviour),
) -> Option<Answer> {
    let (log, arrived) = &**log;
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let (log, number) = &mut *log;
    if received.head.starts_with("GET /messages?limit=100 ") {
        log.pages += 1;
        return Some(page(log, replica));
    }
    let Body { user, text } = serde_json::from_slice(&received.body).ok()?;
    let post = Post {
        replica,
        number: *number,
        user,
        text,
        key: received.header("idempotency-key").map(str::to_owned),
    };
    *number += 1;
    arrived.notify_all();
    Some(behaviour(log, &post))
}

/// Serves all requests of one connection.
async fn serve(
    mut stream: TcpStream,
    replica: usize,
    log: SharedLog,
    behaviours: (Behaviour, PageBehaviour),
) -> Option<()> {
    let (json, problem) = ("application/json", "application/problem+json");
    let mut bytes = Vec::new();
    loop {
        let received = Received::next(&mut stream, &mut bytes).await?;
        let (status, kind, body) = match answer(&received, replica, &log, behaviours)? {
            Answer::Messages(messages) => (200, json, as_json(&messages)),
            Answer::Raw(200, body) => (200, json, body.into_bytes()),
            Answer::Raw(status, body) => (status, problem, body.into_bytes()),
            Answer::Proxy(status) => (status, "text/html", b"<html>".to_vec()),
            Answer::Typed(kind, body) => (200, kind, body),
            Answer::Bytes(bytes) => {
                stream.write_all(bytes).await.ok()?;
                return None;
            }
            Answer::Close => return None,
            Answer::Stall => std::future::pending().await,
        };
        let head = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), &body].concat();
        stream.write_all(&whole).await.ok()?;
    }
}

pub(crate) fn as_json(messages: &[Message]) -> Vec<u8> {
    serde_json::to_vec(messages).expect("messages are JSON")
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}
