//! A way to a replica that takes batches, on which a batch can be lost, or its answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::{PATIENCE, Replica};

/// What becomes of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Toll {
    /// The replica gets half of it.
    CutBatch,
    /// The replica gets it when it is let go.
    HoldBatch,
    /// The answer is lost.
    LoseAnswer,
    /// Half of the answer is lost.
    CutAnswer,
    /// This comes back instead of the answer.
    Forge(&'static str),
}

/// A port of its own that leads to a replica.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A batch that pays its toll. What is held goes on when this is dropped.
pub(crate) struct Toller {
    paid: Receiver<()>,
    release: Sender<()>,
}

struct Shared {
    to: Mutex<SocketAddr>,
    next: Mutex<Option<Order>>,
}

struct Order {
    toll: Toll,
    paid: Sender<()>,
    release: Receiver<()>,
}

impl Relay {
    pub(crate) fn to(replica: &Replica) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            to: Mutex::new(replica.address()),
            next: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                // An error is the end of a connection, as any other.
                thread::spawn(move || shared.relay(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next request on, also on connections that exist.
    pub(crate) fn lead_to(&self, replica: &Replica) {
        *lock(&self.shared.to) = replica.address();
    }

    /// Decides what becomes of the next batch.
    #[must_use = "what is held is let go when this is dropped"]
    pub(crate) fn take_toll(&self, toll: Toll) -> Toller {
        let (paid, paying) = channel();
        let (release, released) = channel();
        *lock(&self.shared.next) = Some(Order {
            toll,
            paid,
            release: released,
        });
        Toller {
            paid: paying,
            release,
        }
    }
}

impl Toller {
    /// Waits until the batch, or its answer, has come to what becomes of it.
    pub(crate) fn wait(&self) {
        let paid = self.paid.recv_timeout(PATIENCE);
        paid.expect("a batch comes in time");
    }

    /// Lets it go, and waits until the replica has answered.
    pub(crate) fn let_go(&self) {
        self.release.send(()).expect("it is held");
        self.wait();
    }
}

impl Shared {
    /// Requests of one connection, each on a new one to the replica, up to one that pays a toll.
    fn relay(&self, mut from: TcpStream) -> io::Result<()> {
        let mut requests = BufReader::new(from.try_clone()?);
        loop {
            let request = read_whole(&mut requests)?;
            let order = request
                .starts_with(b"POST")
                .then(|| lock(&self.next).take())
                .flatten();
            let Some(order) = order else {
                from.write_all(&self.ask(&request)?)?;
                continue;
            };
            return from.write_all(&self.obey(&order, &request)?);
        }
    }

    /// Gives what goes back.
    fn obey(&self, order: &Order, request: &[u8]) -> io::Result<Vec<u8>> {
        let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
        let pay = || {
            // Nobody may want to know.
            let _ = order.paid.send(());
        };
        let answer = match order.toll {
            Toll::CutBatch => {
                let mut replica = TcpStream::connect(*lock(&self.to))?;
                replica.write_all(&half(request))?;
                Vec::new()
            }
            Toll::HoldBatch => {
                pay();
                let _released_or_dropped = order.release.recv();
                self.ask(request)?;
                Vec::new()
            }
            Toll::LoseAnswer => {
                self.ask(request)?;
                Vec::new()
            }
            Toll::CutAnswer => half(&self.ask(request)?),
            Toll::Forge(answer) => {
                self.ask(request)?;
                answer.as_bytes().to_vec()
            }
        };
        pay();
        Ok(answer)
    }

    fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut replica = TcpStream::connect(*lock(&self.to))?;
        replica.write_all(request)?;
        read_whole(&mut BufReader::new(replica))
    }
}

/// A request or an answer with its declared length.
fn read_whole(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let mut length = 0;
    loop {
        let start = whole.len();
        if from.read_until(b'\n', &mut whole)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&whole[start..]).to_ascii_lowercase();
        if let Some(declared) = line.strip_prefix("content-length:") {
            length = declared.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let read = from.take(length).read_to_end(&mut whole)?;
    if read as u64 == length {
        Ok(whole)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics with it")
}
