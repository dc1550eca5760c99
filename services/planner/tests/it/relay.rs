//! A TCP proxy between a service and its database, which drops responses to `COMMIT`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use testbed::{Database, Upstream, url_at};

/// A proxy of a database, which runs until the test process ends.
pub(crate) struct Relay {
    address: SocketAddr,
    commits_to_lose: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) fn to(database: &Database) -> Self {
        let upstream = Upstream::of(&database.url()).expect("the URL is right");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let commits_to_lose = Arc::new(AtomicUsize::new(0));
        let lose_commits = Arc::clone(&commits_to_lose);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = upstream.connect().expect("the database is up");
                relay(client, server.into(), &lose_commits);
            }
        });
        Self {
            address,
            commits_to_lose,
        }
    }

    /// The URL of the database through the proxy.
    pub(crate) fn url(&self, database: &Database) -> String {
        url_at(&database.url(), self.address).expect("the URL is right")
    }

    /// For so many of the next commits, closes the connection instead of forwarding the response.
    pub(crate) fn lose_commits(&self, commits: usize) {
        self.commits_to_lose.store(commits, Ordering::SeqCst);
    }

    /// How many responses are still to be dropped.
    pub(crate) fn commits_to_lose(&self) -> usize {
        self.commits_to_lose.load(Ordering::SeqCst)
    }
}

fn relay(client: TcpStream, server: TcpStream, commits_to_lose: &Arc<AtomicUsize>) {
    let (answers_from, answers_to) = (clone(&server), clone(&client));
    let (is_lost, commits_to_lose) = (
        Arc::new(AtomicBool::new(false)),
        Arc::clone(commits_to_lose),
    );
    let lost = Arc::clone(&is_lost);
    thread::spawn(move || {
        forward(client, server, |bytes| {
            let decrement = |left: usize| left.checked_sub(1);
            if bytes.ends_with(b"COMMIT") {
                let taken =
                    commits_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, decrement);
                is_lost.store(taken.is_ok(), Ordering::SeqCst);
            }
            true
        });
    });
    thread::spawn(move || {
        forward(answers_from, answers_to, |_| !lost.load(Ordering::SeqCst));
    });
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("there are descriptors")
}

/// Forwards bytes until `should_forward` returns false or a connection ends; then closes both connections.
fn forward(mut from: TcpStream, mut to: TcpStream, mut should_forward: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 8 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !should_forward(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
