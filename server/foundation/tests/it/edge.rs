//! Connections: keep-alive, close and idle time-out.

use std::time::{Duration, Instant};

use testbed::{Database, HttpClient};

use crate::harness::{start, start_with};

#[test]
fn connections_that_send_nothing_do_not_starve_one_that_sends() {
    let database = Database::new();
    let replica = start(&database);
    for _ in 0..20 {
        let _silent: Vec<HttpClient> = (0..10).map(|_| replica.client()).collect();
        let start = Instant::now();
        assert_eq!(replica.client().get("/healthz").status, 200);
        let waited = start.elapsed();
        // Generous, for a loaded machine. A forgotten connection waits for half of the idle time-out, 30 s, or for ever.
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    }
}

#[test]
fn http_1_0_and_connection_close_are_honoured() {
    let database = Database::new();
    let replica = start(&database);
    for (request, expected) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", Some("close")),
        (
            "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            Some("keep-alive"),
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            Some("close"),
        ),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", None),
    ] {
        let mut client = replica.client();
        client.send_raw(request.as_bytes());
        assert_eq!(
            client.receive().header("Connection"),
            expected,
            "{request:?}"
        );
    }
}

#[test]
fn a_silent_connection_is_closed_and_a_frozen_server_goes_on() {
    let database = Database::new();
    let replica = start_with(&database.url(), &["--idle-timeout", "3s"]);
    assert!(
        replica.client().is_closed_by_the_server(),
        "it sends nothing"
    );
    let mut client = replica.client();
    client.send_raw(b"POST /not");
    assert!(
        client.is_closed_by_the_server(),
        "it stops within a request"
    );

    // `accept` has the same time-out, which expires during the freeze. The server must go on.
    replica.freeze();
    std::thread::sleep(Duration::from_secs(4));
    replica.thaw();
    for _ in 0..20 {
        assert_eq!(replica.client().get("/healthz").status, 200);
    }
}

#[test]
fn chunks_from_an_http_1_0_client_are_refused() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    client.send_raw(
        b"POST /notes HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let answer = client.receive();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(client.is_closed_by_the_server());
}

#[test]
fn a_body_of_unclear_length_is_refused_and_the_connection_announced_to_close() {
    let database = Database::new();
    let replica = start(&database);
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let mut client = replica.client();
        client.send_raw(
            format!("POST /notes HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n12345").as_bytes(),
        );
        let answer = client.receive();
        assert_eq!(answer.status, 400, "{framing}");
        assert!(
            answer.headers.contains("Connection: close"),
            "{framing}: {}",
            answer.headers
        );
    }
}
