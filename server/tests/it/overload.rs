//! More connections, threads, descriptors and unread replies than there is room for.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::metrics::scrape;
use testbed::{Database, HttpClient, PATIENCE, Replica, eventually, skip};

/// A replica with limits of the shell's `ulimit`.
fn start_limited(database: &Database, limits: &str) -> Replica {
    let mut command = Command::new("sh");
    let script = format!(r#"ulimit {limits}; exec "$0" --listen 127.0.0.1:0"#);
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_server")])
        .env("DATABASE_URL", database.url());
    let mut replica = Replica::run(&mut command);
    replica.wait_until_ready();
    replica
}

fn is_served(replica: &Replica) -> bool {
    let mut client = replica.client();
    client.send_raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.receive().status == 200
}

/// More connections than `replica` has room for are turned away, and accepted again when there is room.
fn flood(database: &Database, mut replica: Replica) {
    let mut early = replica.client();
    assert_eq!(early.post("ann", "x").own_seq(), 1);
    assert_eq!(early.get("/messages").status, 200);
    let flood: Vec<_> = (0..100)
        .map_while(|_| TcpStream::connect(replica.address()).ok())
        .collect();
    replica.wait_for_line("no room for more connections");

    let refusal = replica.client().post("bob", "no room");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert_eq!(refusal.header("Retry-After"), Some("1"));
    assert_eq!(refusal.header("Connection"), Some("close"));
    assert_eq!(early.post("ann", "y").own_seq(), 2);
    assert_eq!(early.get("/messages").status, 200);

    drop(flood);
    replica.wait_for_line("there is room");
    eventually("a new connection is served", || is_served(&replica));
    assert_eq!(replica.client().post("bob", "z").own_seq(), 3);
    assert_eq!(early.post("ann", "z").own_seq(), 4);
    assert_ne!(scrape(&replica)["connections_turned_away_total"], "0");
    replica.terminate();
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
    let log = replica.log();
    assert_eq!(log.matches("no room").count(), 1, "{log}");
    assert_eq!(database.count(), 4);
    database.assert_in_order();
}

/// A connection takes two descriptors. It makes a difference which of them is the first beyond the limit: the accept fails and
/// is reported, or the accepting thread panics.
fn flood_descriptors(max: u32) {
    let database = Database::new();
    let replica = start_limited(&database, &format!("-n {max}"));
    flood(&database, replica);
}

#[test]
fn connections_beyond_the_descriptors_are_turned_away_until_there_is_room_again() {
    flood_descriptors(64);
}

#[test]
fn connections_beyond_the_descriptors_by_one_are_turned_away_until_there_is_room_again() {
    flood_descriptors(65);
}

/// `tiny_http` waits for itself, and keeps a thread and descriptors for ever. Open connections hold many descriptors as well.
#[test]
fn a_server_whose_descriptors_are_held_by_leaked_connections_exits() {
    let database = Database::new();
    let mut replica = start_limited(&database, "-n 64");
    let _open: Vec<_> = (0..8).map(|_| replica.client()).collect();
    let address = replica.address();
    // Until the server does not listen any more: a few of them would leave room for others.
    let leaking = thread::spawn(move || {
        while let Ok(mut stream) = TcpStream::connect(address) {
            let _turned_away = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            thread::sleep(Duration::from_millis(20));
        }
    });
    replica.wait_for_line("no room for more connections");
    assert_eq!(replica.exit_status().code(), Some(1));
    leaking.join().expect("it does not panic");
    let expected = "connections that ended are not given back";
    assert!(replica.log().contains(expected), "{}", replica.log());
}

/// The limit counts the threads of a user, and does not apply to root: the replica runs as a user of its own.
#[test]
fn connections_beyond_the_threads_are_turned_away_until_there_is_room_again() {
    let uid = 1_000_000_000 + std::process::id();
    let as_own_user = |program: &OsStr| {
        let mut command = Command::new("prlimit");
        command
            .args([
                "--nproc=64",
                "setpriv",
                "--clear-groups",
                "--pdeathsig=keep",
            ])
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .arg(program);
        command
    };
    if !as_own_user(OsStr::new("true"))
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip(
            "another user's limit cannot be set here; it takes root, `prlimit` and `setpriv`",
        );
    }
    let database = Database::new();
    let proxy = database.proxy();
    // Other users may not be allowed to read the folder of the build.
    let folder = tempfile::tempdir().expect("a folder can be made");
    let readable_by_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable_by_all).expect("it is ours");
    let program = folder.path().join("server");
    // Copied by another process: a program that this process has open for writing could not be started.
    let mut copy = Command::new("cp");
    copy.arg(env!("CARGO_BIN_EXE_server")).arg(&program);
    assert!(copy.status().is_ok_and(|status| status.success()));
    let mut command = as_own_user(program.as_os_str());
    command
        .args(["--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", proxy.url());
    let mut replica = Replica::run(&mut command);
    replica.wait_until_ready();
    flood(&database, replica);
}

/// Stores a hundred messages, so that a page of them has more than 2 MiB.
fn store_long_messages(client: &mut HttpClient) {
    for _ in 0..100 {
        // Each character has six bytes in JSON.
        assert_eq!(client.post("ann", &"\u{1}".repeat(4096)).status, 200);
    }
}

/// Requests a hundred pages on one connection, and reads none.
fn request_pages_without_reading(replica: &Replica) -> TcpStream {
    let mut stream = connect_without_reading(replica.address());
    let requests = b"GET /messages?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    stream.write_all(&requests).expect("the server reads heads");
    stream
}

#[test]
fn pages_that_are_not_read_are_bounded_and_hold_up_no_message() {
    let database = Database::new();
    let replica = Replica::start_with(&database, &["--send-timeout", "60s"]);
    let mut client = replica.client();
    store_long_messages(&mut client);
    // For each connection one page is held at a time, so about twenty connections are enough to reach the limit.
    let unread: Vec<_> = (0..40)
        .map(|_| request_pages_without_reading(&replica))
        .collect();
    eventually("a page is refused", || {
        let refusal = client.get("/messages");
        assert!([200, 503].contains(&refusal.status), "{refusal:?}");
        refusal.status == 503 && refusal.header("Retry-After") == Some("1")
    });
    assert_eq!(client.post("ann", "x").status, 200);
    drop(unread);
    eventually("pages are served again", || {
        client.get("/messages").status == 200
    });
}

#[test]
fn the_database_is_not_queried_for_a_client_that_is_gone() {
    let database = Database::new();
    let replica = Replica::start(&database);
    store_long_messages(&mut replica.client());
    let pages = |status: u16| -> u64 {
        let name = format!(r#"requests_total{{method="GET",route="/messages",status="{status}"}}"#);
        let samples = scrape(&replica);
        samples
            .get(&name)
            .map_or(0, |number| number.parse().expect("a counter"))
    };
    drop(request_pages_without_reading(&replica));
    eventually("all are finished", || pages(200) + pages(503) == 100);
    // A page that fits into the buffers of the kernel counts as answered.
    assert!(pages(200) < 10, "{} pages were read", pages(200));
}

/// Bytes in the fullest send queue of all connections to this port.
fn longest_send_queue(port: u16) -> u64 {
    let connections = fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    let local = format!(":{port:04X}");
    let held = connections.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().filter(|address| address.ends_with(&local))?;
        let (out, _) = columns.nth(2)?.split_once(':')?;
        u64::from_str_radix(out, 16).ok()
    });
    held.max().expect("there is the listener")
}

#[test]
fn the_send_queue_of_a_client_that_does_not_read_is_bounded() {
    let database = Database::new();
    let replica = Replica::start_with(&database, &["--send-timeout", "60s"]);
    store_long_messages(&mut replica.client());
    let port = replica.address().port();
    let _unread = request_pages_without_reading(&replica);
    let (mut held, mut samples) = (0, 0);
    eventually(
        "a page is in the send queue, and others have had the time to follow",
        || {
            held = held.max(longest_send_queue(port));
            samples += usize::from(held > 64 << 10);
            samples == 50
        },
    );
    assert!(held <= 512 << 10, "{held} bytes");
}

/// Whether a reply, given from its headers on, has the length that it declares.
fn is_whole(reply: &str) -> bool {
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    head.ends_with(&format!("Content-Length: {}", body.len()))
}

#[test]
fn nothing_follows_a_reply_that_broke_off_and_its_connection_is_closed() {
    let database = Database::new();
    let replica = Replica::start_with(&database, &["--send-timeout", "1s"]);
    store_long_messages(&mut replica.client());
    let mut stream = request_pages_without_reading(&replica);
    let (mut received, mut buffer) = (Vec::new(), [0; 1024]);
    // Without a read now and then, the kernel would end the connection.
    eventually("a reply breaks off", || {
        let length = stream.read(&mut buffer).unwrap_or(0);
        received.extend_from_slice(&buffer[..length]);
        scrape(&replica)["answers_undelivered_total"] != "0"
    });
    stream.set_nonblocking(false).expect("it is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
    // It does not matter whether this resets the connection.
    let _fails = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let end = stream.read_to_end(&mut received);
    let is_closed = end.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |_| true);
    assert!(is_closed, "the connection is still open");
    let received = String::from_utf8(received).expect("a page is UTF-8");
    let replies: Vec<_> = received.split("HTTP/1.1 200 OK").skip(1).collect();
    let (broken_off, before) = replies.split_last().expect("a part of a reply");
    assert!(!is_whole(broken_off));
    assert!(
        before.iter().copied().all(is_whole),
        "no reply follows a broken one"
    );
}

/// Reads a little from each stream now and then, until the other end of `stop` is dropped.
fn read_slowly(mut streams: Vec<TcpStream>, stop: &Receiver<()>) {
    let mut buffer = vec![0; 64 << 10];
    while stop.recv_timeout(Duration::from_millis(250)) == Err(RecvTimeoutError::Timeout) {
        for stream in &mut streams {
            // There may be nothing at the moment.
            let _ = stream.read(&mut buffer);
        }
    }
}

#[test]
fn replies_that_are_read_slowly_hold_up_others_only_for_a_while() {
    let database = Database::new();
    let limits = ["--workers", "2", "--send-timeout", "1s"];
    let replica = Replica::start_with(&database, &limits);
    let mut client = replica.client();
    store_long_messages(&mut client);
    // As many as there are threads that write.
    let slow: Vec<_> = (0..2)
        .map(|_| request_pages_without_reading(&replica))
        .collect();
    let (running, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || read_slowly(slow, &stopped));
        let _until_the_end = running;
        eventually("both are cut off from most of their replies", || {
            assert_eq!(client.post("ann", "x").status, 200);
            let undelivered = &scrape(&replica)["answers_undelivered_total"];
            undelivered.parse::<u32>().expect("a counter") > 100
        });
    });
}

/// Opens a connection with a small receive buffer, for a client that does not read.
pub(crate) fn connect_without_reading(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    socket.set_recv_buffer_size(4096).expect("it is open");
    socket.connect(&address.into()).expect("the server listens");
    socket.set_nonblocking(true).expect("it is open");
    socket.into()
}
