//! Malformed and malicious input, byte by byte.

mod cases;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

use testbed::{Answer, Database, HttpClient, PATIENCE, Replica, eventually};

use cases::{Case, Ending, Expected};

/// Cases that wait for a time-out of the server take most of the time, and hardly any CPU time.
const THREADS: usize = 48;

/// Descriptors of an idle replica: listener, log, connections to the database, and one or two nudges of the listener.
const MAX_DESCRIPTORS: usize = 24;

/// The first answer on a connection.
#[derive(Debug)]
enum Reply {
    Answer(Answer),
    /// Closed or reset without a byte.
    Closed,
}

impl Case {
    fn send(&self, from: Ipv4Addr, address: SocketAddr) -> Reply {
        let mut stream = connect(from, address);
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        for piece in &self.pieces {
            // The server may have closed it already.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        match self.ending {
            Ending::Open => {}
            Ending::HalfClosed => drop(stream.shutdown(Shutdown::Write)),
            Ending::Closed => return Reply::Closed,
        }
        self.read(&stream)
    }

    fn read(&self, stream: &TcpStream) -> Reply {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match reader.read_until(b'\n', &mut head) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("{}: neither answered nor closed", self.name)
                }
                Ok(0) | Err(_) if head.is_empty() => return Reply::Closed,
                Ok(_) | Err(_) => panic!("{}: the answer breaks off", self.name),
            }
        }
        let headers = String::from_utf8(head).expect("heads are ASCII");
        let status = headers[9..12].parse().expect("a status line");
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer.header("Content-Length").unwrap_or("0");
        answer.body = vec![0; length.parse().expect("a length")];
        reader
            .read_exact(&mut answer.body)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        Reply::Answer(answer)
    }

    /// How a reply differs from the expected one, if it does.
    fn mismatch(&self, reply: &Reply) -> Option<String> {
        let matches = match (self.expected, reply) {
            (Expected::Closed | Expected::Refused, Reply::Closed) => true,
            (Expected::Accepted(status), Reply::Answer(answer)) => answer.status == status,
            (Expected::Problem(status), Reply::Answer(answer)) => is_problem(answer, status),
            (Expected::Empty(status), Reply::Answer(answer)) => is_empty(answer, status),
            (Expected::Refused, Reply::Answer(answer)) => {
                is_problem(answer, answer.status) || is_empty(answer, answer.status)
            }
            _ => false,
        };
        let got = match reply {
            Reply::Closed => "it is closed".into(),
            Reply::Answer(answer) => {
                answer.headers.clone() + &String::from_utf8_lossy(&answer.body)
            }
        };
        (!matches).then(|| format!("{}: expected {:?}, but {got}", self.name, self.expected))
    }
}

/// Connects from an address of its own: the server recognizes a connection that it has given up by its address, and ports are
/// reused soon.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets left");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("all of 127.0.0.0/8 is loopback");
    socket.connect(&to.into()).expect("the server listens");
    socket.set_tcp_nodelay(true).expect("the socket is open");
    socket.into()
}

/// Whether it is a problem document, as the contract has it.
fn is_problem(answer: &Answer, status: u16) -> bool {
    answer.status == status
        && answer.header("Content-Type") == Some("application/problem+json")
        && answer.json()["status"] == status
        && answer.json()["detail"].is_string()
}

/// Whether it is an answer of `tiny_http` itself.
fn is_empty(answer: &Answer, status: u16) -> bool {
    [400, 417].contains(&status) && answer.status == status && answer.body.is_empty()
}

/// The resources of a process.
#[derive(Debug, Clone, Copy)]
struct Resources {
    descriptors: usize,
    threads: usize,
    memory_kib: usize,
}

impl Resources {
    fn of(replica: &Replica) -> Self {
        let process = format!("/proc/{}", replica.id());
        let count = |what: &str| {
            let entries = fs::read_dir(format!("{process}/{what}"));
            entries.expect("the process lives").count()
        };
        let status = fs::read_to_string(format!("{process}/status")).expect("the process lives");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.trim().strip_suffix(" kB"));
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory_kib: memory.and_then(|size| size.parse().ok()).expect("a size"),
        }
    }
}

/// Sends all cases, on many threads, and after each a valid request on a new connection, which must be answered.
fn send_all(cases: &[Case], address: SocketAddr) {
    let mismatches = Mutex::new(Vec::new());
    let waiting = Mutex::new((0x7f01_0001..).map(Ipv4Addr::from_bits).zip(cases));
    let next = || waiting.lock().expect("nothing panics with it").next();
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(cases.len()) {
            scope.spawn(|| {
                while let Some((from, case)) = next() {
                    let mismatch = case.mismatch(&case.send(from, address));
                    mismatches
                        .lock()
                        .expect("nothing panics with it")
                        .extend(mismatch);
                    let answer = HttpClient::connect(address).post("good", &case.name);
                    assert_eq!(answer.own()["text"], case.name.as_str());
                }
            });
        }
    });
    let mismatches = mismatches.into_inner().expect("nothing panics with it");
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n\n"));
}

#[test]
fn hostile_requests_are_refused_leak_nothing_and_affect_nobody() {
    let database = Database::new();
    let mut replica = Replica::start_with(&database, &["--idle-timeout", "6s"]);
    let cases = cases::all();
    assert!(cases.len() >= 300, "{}", cases.len());
    // The first round starts all threads and connections that are kept.
    send_all(&cases, replica.address());
    let before = Resources::of(&replica);
    send_all(&cases, replica.address());

    let mut after = before;
    eventually("all connections are closed", || {
        after = Resources::of(&replica);
        after.descriptors <= MAX_DESCRIPTORS
    });
    // tiny_http keeps threads for as many connections as were open at once, two for each of ours if it is slow to notice
    // that they were closed. One that hangs for each case would be many more.
    assert!(
        after.threads <= before.threads + 2 * THREADS,
        "{before:?}, then {after:?}"
    );
    assert!(
        after.memory_kib <= before.memory_kib + (16 << 10),
        "{before:?}, then {after:?}"
    );

    replica.terminate();
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
    assert!(!replica.log().contains("panicked"), "{}", replica.log());
    let accepted = cases.iter().filter(|case| case.stores()).count();
    let stored = "SELECT user, COUNT(*) FROM messages GROUP BY user ORDER BY user";
    assert_eq!(
        database.rows::<(String, usize)>(stored),
        [
            ("good".to_owned(), 2 * cases.len()),
            ("mallory".to_owned(), 2 * accepted)
        ]
    );
    database.assert_in_order();
}
