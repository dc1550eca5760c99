//! Many callers that only cost, and a few good ones beside them.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::overload::connect_deaf;
use testbed::{Caller, Database, PATIENCE, Replica, eventually};

/// Callers that only cost.
#[derive(Debug, Clone, Copy)]
struct Siege {
    /// Connect, and say nothing.
    silent: usize,
    /// Send a byte now and then: half of them of the head, half of the body.
    slow: usize,
    /// Ask for more than fits on the way back, and read nothing.
    deaf: usize,
}

/// What is allowed during a siege. Some 20 KiB a connection, and the pages that nobody reads.
const MAX_MEMORY_KIB: u64 = 512 << 10;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    memory_kib: u64,
    threads: u64,
    descriptors: usize,
}

impl Holdings {
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

impl Siege {
    /// Runs until `over`; `laid` is called when all are there.
    fn lay(self, address: SocketAddr, over: &AtomicBool, laid: impl FnOnce()) {
        let connect = |_| TcpStream::connect(address).expect("the server listens");
        let silent: Vec<_> = (0..self.silent).map(connect).collect();
        let mut slow: Vec<_> = (0..self.slow).map(connect).collect();
        for stream in slow.iter_mut().skip(1).step_by(2) {
            let head = b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
            stream.write_all(head).expect("the server reads heads");
        }
        let mut deaf: Vec<_> = (0..self.deaf).map(|_| connect_deaf(address)).collect();
        let questions = b"GET /messages?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(60);
        for stream in &mut deaf {
            // What does not fit on the way is left out.
            let _ = stream.write(&questions);
        }
        laid();
        while !over.load(Ordering::Relaxed) {
            for stream in &mut slow {
                // The server may be tired of it.
                let _ = stream.write(b"x");
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
        drop(silent);
    }
}

/// Sends messages until `over`, and gives how long each took.
fn good_caller(address: SocketAddr, over: &AtomicBool) -> Vec<Duration> {
    let mut caller = Caller::connect(address);
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        assert_eq!(caller.post("good", &"x".repeat(100)).status, 200);
        times.push(start.elapsed());
        // Others too are to come through the crowd.
        if times.len() % 16 == 0 {
            caller = Caller::connect(address);
        }
    }
    times
}

/// Good callers are served while the siege lasts, and when it is over all that it cost is given back.
fn withstand(siege: Siege, good_callers: usize, lasting: Duration) {
    let database = Database::new();
    let limits = ["--idle-timeout", "10s", "--send-timeout", "1s"];
    let replica = Replica::start_with(&database, &limits);
    let (process, address) = (replica.id(), replica.address());
    let mut caller = replica.caller();
    for _ in 0..100 {
        caller.post("ann", &"x".repeat(1000));
    }
    let before = Holdings::of(process);
    let over = AtomicBool::new(false);
    let (mut times, during) = std::thread::scope(|scope| {
        let (laid, is_laid) = std::sync::mpsc::channel();
        let besieger = scope.spawn(|| {
            siege.lay(address, &over, move || {
                laid.send(()).expect("the test waits");
            });
        });
        is_laid.recv_timeout(PATIENCE).expect("the siege is laid");
        let good: Vec<_> = (0..good_callers)
            .map(|_| scope.spawn(|| good_caller(address, &over)))
            .collect();
        std::thread::sleep(lasting);
        let during = Holdings::of(process);
        over.store(true, Ordering::Relaxed);
        besieger.thread().unpark();
        let times: Vec<_> = good
            .into_iter()
            .flat_map(|thread| thread.join().expect("good callers are served"))
            .collect();
        (times, during)
    });
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    eventually("descriptors and threads are given back", || {
        let now = Holdings::of(process);
        now.descriptors <= before.descriptors + 8 && now.threads <= before.threads + 300
    });
    let after = Holdings::of(process);
    let _ = writeln!(
        io::stderr(),
        "{siege:?}\nbefore {before:?}\nduring {during:?}\nafter  {after:?}\ngood callers: {} messages, p50 {p50:?}, \
         p99 {p99:?}, longest {:?}",
        times.len(),
        times[times.len() - 1]
    );
    assert!(p99 < PATIENCE / 6, "p99 {p99:?}");
    assert!(during.memory_kib < MAX_MEMORY_KIB, "{during:?}");
    assert_eq!(replica.caller().post("ann", "after").status, 200);
    assert_eq!(database.count(), times.len() as u64 + 101);
    database.assert_in_order();
}

#[test]
fn callers_that_only_cost_hold_up_nobody() {
    let siege = Siege {
        silent: 100,
        slow: 50,
        deaf: 10,
    };
    withstand(siege, 2, Duration::from_secs(2));
}

#[test]
#[ignore = "needs 20,000 descriptors, and a minute; prints figures"]
fn nine_thousand_callers_that_only_cost_hold_up_nobody() {
    for siege in [(9000, 0, 0), (0, 1000, 0), (0, 0, 1000)] {
        let (silent, slow, deaf) = siege;
        withstand(Siege { silent, slow, deaf }, 8, Duration::from_secs(8));
    }
}
