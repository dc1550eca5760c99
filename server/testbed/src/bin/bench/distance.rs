//! A way to the database that takes time, as one between two machines does.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use testbed::{Upstream, url_at};

/// The most bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Holds up what goes through it, each direction for half of a round trip, and counts the round trips.
#[derive(Debug)]
pub(crate) struct Distance {
    /// The URL of the database, seen from afar.
    pub(crate) url: String,
    round_trips: Arc<AtomicU64>,
}

impl Distance {
    /// Makes a way to the database at this URL, which goes on until this program ends.
    pub(crate) fn start(url: &str, round_trip: Duration) -> Result<Self, Box<dyn Error>> {
        let database = Upstream::of(url)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = url_at(url, listener.local_addr()?)?;
        let round_trips = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&round_trips);
        thread::spawn(move || {
            for replica in listener.incoming().flatten() {
                // Where it fails, the replica sees a closed connection.
                let _ = connect(&database, replica, round_trip / 2, &count);
            }
        });
        Ok(Self { url, round_trips })
    }

    /// How many round trips there were so far.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }
}

fn connect(
    database: &Upstream,
    replica: TcpStream,
    delay: Duration,
    round_trips: &Arc<AtomicU64>,
) -> io::Result<()> {
    replica.set_nodelay(true)?;
    let to_database = database.connect()?;
    let from_database = to_database.try_clone()?;
    let asked = Arc::new(AtomicBool::new(false));
    let (answered, round_trips) = (Arc::clone(&asked), Arc::clone(round_trips));
    carry(replica.try_clone()?, to_database, delay, move || {
        if !asked.swap(true, Ordering::Relaxed) {
            round_trips.fetch_add(1, Ordering::Relaxed);
        }
    });
    carry(from_database, replica, delay, move || {
        answered.store(false, Ordering::Relaxed);
    });
    Ok(())
}

/// Carries bytes: one thread reads, another writes what is due: what follows is held up no longer than what goes before.
fn carry(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    delay: Duration,
    passed: impl Fn() + Send + 'static,
) {
    let (sender, due) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            passed();
            if sender
                .send((Instant::now() + delay, chunk[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (when, bytes) in due {
            thread::sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
    });
}
