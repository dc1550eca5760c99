//! HTTP clients that do not give up: each message is repeated with its key, at the next replica, until it is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{Answer, Caller, Exchange, Replica, eventually};

/// The time before a repetition, so that a server in trouble is not pressed.
const PAUSE: Duration = Duration::from_millis(10);

/// Different code point by code point, and alike to a database that folds case or accents or knows fewer characters.
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

/// What all clients share.
#[derive(Debug)]
struct Shared {
    replicas: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    answered: AtomicUsize,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Exchange>>>,
}

impl Load {
    /// Starts so many clients on these replicas.
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
                    turn: number,
                    connection: None,
                };
                std::thread::spawn(|| sender.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Tells where a replica is from now on.
    pub fn moved(&self, index: usize, replica: &Replica) {
        self.shared.replicas.lock()[index] = replica.address();
    }

    /// Waits until so many more messages are answered.
    pub fn goes_on(&self, messages: usize) {
        let enough = self.shared.answered.load(Ordering::Relaxed) + messages;
        eventually("messages are answered", || {
            self.shared.answered.load(Ordering::Relaxed) >= enough
        });
    }

    /// Lets all that was begun be answered; gives every message.
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
    turn: usize,
    connection: Option<(SocketAddr, Caller)>,
}

impl Sender {
    fn work(mut self) -> Vec<Exchange> {
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
            match self.attempt(user, &text, &key) {
                Ok(reply) if reply.status == 200 => {
                    return Exchange {
                        text,
                        user: user.to_owned(),
                        sent,
                        answered: Instant::now(),
                        reply,
                    };
                }
                // The answers after which a client may repeat.
                Ok(reply) => assert!([503, 504].contains(&reply.status), "{reply:?}"),
                Err(_) => self.connection = None,
            }
            self.turn += 1;
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&mut self, user: &str, text: &str, key: &str) -> io::Result<Answer> {
        let replicas = self.shared.replicas.lock();
        let address = replicas[self.turn % replicas.len()];
        drop(replicas);
        let caller = match &mut self.connection {
            Some((known, caller)) if *known == address => caller,
            other => &mut other.insert((address, Caller::try_connect(address)?)).1,
        };
        caller.try_post_with_key(user, text, key)
    }
}
