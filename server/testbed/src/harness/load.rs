//! HTTP clients that retry each message with the same key, at the next replica, until it is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{Answer, Exchange, HttpClient, Replica, eventually};

/// The time before a retry, so that a server in trouble is not flooded.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Names that differ by code point, but are equal to a database that folds case or accents or has fewer characters.
const USERS: [&str; 10] = [
    "bob",
    "Bob",
    "bób",
    "\u{431}\u{43e}\u{431}",
    "😀",
    "🙈",
    "?",
    "é",
    "e",
    "straße",
];

/// State that all clients share.
#[derive(Debug)]
struct Shared {
    replicas: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    answered: AtomicUsize,
}

/// Running clients.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Exchange>>>,
}

impl Load {
    /// Starts so many clients that send to these replicas.
    pub fn start(replicas: &[Replica], clients: usize) -> Self {
        let shared = Arc::new(Shared {
            replicas: Mutex::new(replicas.iter().map(Replica::address).collect()),
            stop: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
        });
        let threads = (0..clients)
            .map(|number| {
                let sender = Sender {
                    number,
                    shared: Arc::clone(&shared),
                    next_replica: number,
                    connection: None,
                };
                std::thread::spawn(|| sender.run())
            })
            .collect();
        Self { shared, threads }
    }

    /// Updates the address of a replica.
    pub fn set_address(&self, index: usize, replica: &Replica) {
        self.shared.replicas.lock()[index] = replica.address();
    }

    /// Waits until this many more messages are answered.
    pub fn wait_for_answers(&self, messages: usize) {
        let target = self.shared.answered.load(Ordering::Relaxed) + messages;
        eventually("messages are answered", || {
            self.shared.answered.load(Ordering::Relaxed) >= target
        });
    }

    /// Stops the clients once their open requests are answered. Returns all exchanges.
    pub fn finish(self) -> Vec<Exchange> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("all are answered"))
            .collect()
    }
}

/// One client.
struct Sender {
    number: usize,
    shared: Arc<Shared>,
    next_replica: usize,
    connection: Option<(SocketAddr, HttpClient)>,
}

impl Sender {
    fn run(mut self) -> Vec<Exchange> {
        let mut exchanges = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            exchanges.push(self.send(exchanges.len()));
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        exchanges
    }

    fn send(&mut self, post: usize) -> Exchange {
        let user = USERS[(self.number + post) % USERS.len()];
        let text = format!("{}/{post} é😀", self.number);
        let key = Uuid::new_v4().to_string();
        let sent = Instant::now();
        loop {
            match self.try_send(user, &text, &key) {
                Ok(reply) if reply.status == 200 => {
                    return Exchange {
                        text,
                        user: user.to_owned(),
                        sent,
                        answered: Instant::now(),
                        reply,
                    };
                }
                // After these a client may retry.
                Ok(reply) => assert!([503, 504].contains(&reply.status), "{reply:?}"),
                Err(_) => self.connection = None,
            }
            self.next_replica += 1;
            std::thread::sleep(RETRY_DELAY);
        }
    }

    fn try_send(&mut self, user: &str, text: &str, key: &str) -> io::Result<Answer> {
        let replicas = self.shared.replicas.lock();
        let address = replicas[self.next_replica % replicas.len()];
        drop(replicas);
        let client = match &mut self.connection {
            Some((known, client)) if *known == address => client,
            other => &mut other.insert((address, HttpClient::try_connect(address)?)).1,
        };
        client.try_post_with_key(user, text, key)
    }
}
