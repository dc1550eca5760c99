//! Malformed and malicious input, byte by byte.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use testbed::{Answer, Database, HttpClient, eventually, resident_mb};

use crate::harness::{assert_problem, count, metric, start, start_with, store, store_request};

#[test]
fn no_request_is_accepted_behind_one_whose_end_is_unclear() {
    let database = Database::new();
    let replica = start_with(&database.url(), &["--idle-timeout", "6s"]);
    std::thread::scope(|scope| {
        for framing in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
            "Content-Length: 0\r\nContent-Length: 89\r\n\r\n",
            "Content-Length: 0, 89\r\n\r\n",
            "Content-Length: +0\r\n\r\n",
            "Content-Length: 89 \0\r\n\r\n",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\tx\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
            "X: y\rTransfer-Encoding: chunked\r\n\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n\r\n",
            "X: y\nContent-Length: 89\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5 \nx\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
            "Connection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let address = replica.address();
            scope.spawn(move || {
                for pause in [false, true] {
                    smuggle(HttpClient::connect(address), framing, pause);
                }
            });
        }
    });
    assert_eq!(store(&mut replica.client(), "good", "x").status, 200);
    assert_eq!(count(&database), 1);
}

fn smuggle(mut client: HttpClient, framing: &str, pause: bool) {
    let smuggled = store_request("mallory", "smuggled");
    assert_eq!(smuggled.len(), 89, "as some of the framings say");
    let head = format!("POST /notes HTTP/1.1\r\nHost: x\r\n{framing}");
    let refuses = |answer: &Answer, status| {
        assert_problem(answer, status, "");
        assert!(
            answer.headers.contains("Connection: close"),
            "{framing:?}: {answer:?}"
        );
    };
    if pause {
        client.send_raw(head.as_bytes());
        refuses(&client.receive(), 400);
        client.send_raw(&smuggled);
    } else {
        client.send_raw(&[head.as_bytes(), &smuggled].concat());
        refuses(&client.receive(), 400);
    }
    // Otherwise the server read it as the rest of the body, or tiny_http refuses what is left of it.
    if let Some(answer) = client
        .receive_if_any()
        .filter(|answer| answer.status != 400 || !answer.body.is_empty())
    {
        refuses(&answer, 503);
    }
}

#[test]
fn pipelined_requests_of_a_client_that_reads_no_answers_are_not_buffered() {
    let database = Database::new();
    let replica = start(&database);
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let memory_mb = || resident_mb(replica.id()).expect("it runs");
    let before = memory_mb();
    let start = Instant::now();
    let mut flood = TcpStream::connect(replica.address()).expect("the server listens");
    for _ in 0..100 {
        let sent = flood.write_all(requests.as_bytes());
        sent.expect("the server reads on");
    }
    assert_eq!(store(&mut replica.client(), "good", "x").status, 200);
    let after = memory_mb();
    assert!(after <= before + 33.0, "{before} MB, then {after} MB");

    // The answers that fit into the buffers of the connection come in order, followed by a 503.
    let mut flood = HttpClient::on(flood).expect("it is open");
    let refused = std::iter::from_fn(|| Some(flood.receive().status)).find(|&status| status != 200);
    assert_eq!(refused, Some(503));
    assert_ne!(metric(&replica, "requests_ignored_total"), Some(0));
    eventually("the log says so", || {
        replica.log().contains("ignoring requests")
    });
    let log = replica.log();
    let lines = log.matches("ignoring requests").count() as u64;
    // At most one line per second.
    let seconds = start.elapsed().as_secs() + 1;
    assert!(lines <= 1 + seconds, "{lines} in {seconds} s: {log}");
}

/// Each would cost a thread and two descriptors: `tiny_http` allocates the declared length to read the rest of the body, or
/// waits for itself in a deadlock.
#[test]
fn requests_that_would_break_tiny_http_do_not_reach_it() {
    let database = Database::new();
    let replica = start(&database);
    let mut stored = 0;
    let mut is_served = || {
        stored += 1;
        let name = stored.to_string();
        store(&mut replica.client(), &name, "x").status == 200
    };
    for length in [2 << 30, 1 << 40, u64::MAX / 2, u64::MAX] {
        let mut client = replica.client();
        client.send_raw(
            format!("POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
                .as_bytes(),
        );
        assert_problem(&client.receive(), 413, "");
        assert!(is_served());
    }
    let mut client = replica.client();
    client.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(is_served());
    assert_eq!(count(&database), 5);
}

#[test]
fn a_server_that_had_to_abandon_too_many_connections_becomes_unhealthy_and_exits() {
    let database = Database::new();
    let mut replica = start(&database);
    let mut other = replica.client();
    let abandon = || {
        let mut client = replica.client();
        let head = "POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n";
        client.send_raw(head.as_bytes());
        assert_problem(&client.receive(), 413, "");
        assert!(client.is_closed_by_the_server());
    };
    (0..63).for_each(|_| abandon());
    assert_eq!(other.get("/healthz").status, 200);
    abandon();
    assert_problem(&other.get("/healthz"), 503, "");
    assert_eq!(store(&mut other, "good", "x").status, 200);
    (0..64).for_each(|_| abandon());
    drop(other);
    assert_eq!(replica.exit_status().code(), Some(1));
    let expected = "too many connections had to be abandoned";
    assert!(replica.log().contains(expected), "{}", replica.log());
}

/// `tiny_http` sorts by these quality values; the sort may panic at a NaN, and a second time in a destructor.
#[test]
fn a_quality_value_of_nan_does_not_end_the_process() {
    let database = Database::new();
    let replica = start(&database);
    for nan in ["nan", "NaN", "-NAN"] {
        let codings = format!("a;q={nan},a;q=.1,a;q=.5,").repeat(11);
        for framing in ["Content-Length: 65537", "Content-Length: 9000000000"] {
            let mut client = replica.client();
            let request =
                format!("POST /notes HTTP/1.1\r\nHost: x\r\n{framing}\r\nTE: {codings}\r\n\r\n");
            client.send_raw(request.as_bytes());
            assert_problem(&client.receive(), 413, "");
            assert_eq!(store(&mut replica.client(), "good", "x").status, 200);
        }
    }
}
