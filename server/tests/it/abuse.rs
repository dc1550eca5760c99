//! Many abusive clients, and a few ordinary ones beside them.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::overload::connect_without_reading;
use testbed::{Database, HttpClient, PATIENCE, Replica, eventually};

/// How many clients of each kind abuse the server.
#[derive(Debug, Clone, Copy)]
struct Abuse {
    /// Connect, and send nothing.
    silent: usize,
    /// Send a byte now and then: half of them of the head, half of the body.
    slow: usize,
    /// Request more than fits into the buffers of the connection, and read nothing.
    unread: usize,
}

/// Allowed while abusive clients are connected: about 20 KiB per connection, and the pages that are not read.
const MAX_MEMORY_KIB: u64 = 512 << 10;

/// The resources of a process.
#[derive(Debug, Clone, Copy)]
struct Resources {
    memory_kib: u64,
    threads: u64,
    descriptors: usize,
}

impl Resources {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).expect(name)
        };
        Self {
            memory_kib: value("VmRSS:"),
            threads: value("Threads:"),
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))
                .expect("it is ours")
                .count(),
        }
    }
}

impl Abuse {
    /// Runs until `stop`; calls `connected` when all are connected.
    fn run(self, address: SocketAddr, stop: &AtomicBool, connected: impl FnOnce()) {
        let connect = |_| TcpStream::connect(address).expect("the server listens");
        let silent: Vec<_> = (0..self.silent).map(connect).collect();
        let mut slow: Vec<_> = (0..self.slow).map(connect).collect();
        for stream in slow.iter_mut().skip(1).step_by(2) {
            let head = b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
            stream.write_all(head).expect("the server reads heads");
        }
        let mut unread: Vec<_> = (0..self.unread)
            .map(|_| connect_without_reading(address))
            .collect();
        let requests = b"GET /messages?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(60);
        for stream in &mut unread {
            // Requests that do not fit into the buffers are not sent.
            let _ = stream.write(&requests);
        }
        connected();
        while !stop.load(Ordering::Relaxed) {
            for stream in &mut slow {
                // The server may have closed it.
                let _ = stream.write(b"x");
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
        drop(silent);
    }
}

/// Sends messages until `stop`, and returns how long each took.
fn ordinary_client(address: SocketAddr, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = HttpClient::connect(address);
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        assert_eq!(client.post("good", &"x".repeat(100)).status, 200);
        times.push(start.elapsed());
        // New connections must be accepted as well.
        if times.len() % 16 == 0 {
            client = HttpClient::connect(address);
        }
    }
    times
}

/// Checks that ordinary clients are served meanwhile, and that all resources are released afterwards.
fn assert_served_during(abuse: Abuse, ordinary_clients: usize, lasting: Duration) {
    let database = Database::new();
    let limits = ["--idle-timeout", "10s", "--send-timeout", "1s"];
    let replica = Replica::start_with(&database, &limits);
    let (process, address) = (replica.id(), replica.address());
    let mut client = replica.client();
    for _ in 0..100 {
        client.post("ann", &"x".repeat(1000));
    }
    let before = Resources::of(process);
    let stop = AtomicBool::new(false);
    let (mut times, during) = std::thread::scope(|scope| {
        let (connected, all_connected) = std::sync::mpsc::channel();
        let abusive = scope.spawn(|| {
            abuse.run(address, &stop, move || {
                connected.send(()).expect("the test waits");
            });
        });
        all_connected
            .recv_timeout(PATIENCE)
            .expect("all are connected");
        let good: Vec<_> = (0..ordinary_clients)
            .map(|_| scope.spawn(|| ordinary_client(address, &stop)))
            .collect();
        std::thread::sleep(lasting);
        let during = Resources::of(process);
        stop.store(true, Ordering::Relaxed);
        abusive.thread().unpark();
        let times: Vec<_> = good
            .into_iter()
            .flat_map(|thread| thread.join().expect("ordinary clients are served"))
            .collect();
        (times, during)
    });
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    eventually("descriptors and threads are released", || {
        let now = Resources::of(process);
        now.descriptors <= before.descriptors + 8 && now.threads <= before.threads + 300
    });
    let after = Resources::of(process);
    let _ = writeln!(
        io::stderr(),
        "{abuse:?}\nbefore {before:?}\nduring {during:?}\nafter  {after:?}\nordinary clients: {} messages, p50 {p50:?}, \
         p99 {p99:?}, longest {:?}",
        times.len(),
        times[times.len() - 1]
    );
    assert!(p99 < PATIENCE / 6, "p99 {p99:?}");
    assert!(during.memory_kib < MAX_MEMORY_KIB, "{during:?}");
    assert_eq!(replica.client().post("ann", "after").status, 200);
    assert_eq!(database.count(), times.len() as u64 + 101);
    database.assert_in_order();
}

#[test]
fn abusive_clients_hold_up_nobody() {
    let abuse = Abuse {
        silent: 100,
        slow: 50,
        unread: 10,
    };
    assert_served_during(abuse, 2, Duration::from_secs(2));
}

#[test]
#[ignore = "needs 20,000 descriptors, and a minute; prints figures"]
fn nine_thousand_abusive_clients_hold_up_nobody() {
    for abuse in [(9000, 0, 0), (0, 1000, 0), (0, 0, 1000)] {
        let (silent, slow, unread) = abuse;
        assert_served_during(
            Abuse {
                silent,
                slow,
                unread,
            },
            8,
            Duration::from_secs(8),
        );
    }
}
