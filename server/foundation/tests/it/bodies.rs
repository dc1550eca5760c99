//! Request bodies: which are accepted, and what a late body holds up.

use testbed::{Answer, Database, HttpClient, eventually};

use crate::harness::{
    assert_problem, count, lock_note, metric, note_text, start, start_with, store, store_request,
};

fn post(client: &mut HttpClient, headers: &str, body: &[u8]) -> Answer {
    client.request("POST", "/notes", headers, body)
}

#[test]
fn a_body_that_is_not_of_the_handlers_type_is_refused_with_a_reason() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for (body, expected) in [
        (&b""[..], "not a JSON object"),
        (b"{", "EOF"),
        (b"[]", "not a JSON object"),
        (br#"["a","x"]"#, "not a JSON object"),
        (b"null", "not a JSON object"),
        (br#"{"name":"a"}"#, "missing field `text`"),
        (br#"{"name":"a","text":null}"#, "invalid type: null"),
        (br#"{"name":7,"text":"x"}"#, "invalid type: integer"),
        (
            br#"{"name":"a","text":"x","more":1}"#,
            "unknown field `more`",
        ),
        (
            br#"{"name":"a","text":"x","text":"y"}"#,
            "duplicate field `text`",
        ),
        (br#"{"name":"a","text":"x"} {}"#, "trailing characters"),
        (b"{\"name\":\"a\",\"text\":\"\xff\"}", "not UTF-8"),
    ] {
        assert_problem(&post(&mut client, "", body), 400, expected);
    }
    assert_eq!(count(&database), 0);
}

#[test]
fn a_handler_answers_invalid_values_with_its_own_problem() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for (length, status) in [(0, 422), (1, 200), (64, 200), (65, 422)] {
        let answer = store(&mut client, &"\u{1f33b}".repeat(length), "x");
        assert_eq!(answer.status, status, "{length} characters");
    }
}

#[test]
fn a_body_is_json_unless_it_is_declared_to_be_something_else() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for (kind, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.note+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ] {
        let header = format!("Content-Type: {kind}\r\n");
        let answer = post(&mut client, &header, br#"{"name":"a","text":"x"}"#);
        assert_eq!(answer.status, status, "{kind:?}");
    }
}

#[test]
fn a_body_with_a_content_encoding_is_refused_with_the_accepted_encoding() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for coding in ["gzip", "identity, gzip", "br"] {
        let header = format!("Content-Encoding: {coding}\r\n");
        let answer = post(&mut client, &header, br#"{"name":"a","text":"x"}"#);
        assert_problem(&answer, 415, "Content-Encoding");
        assert_eq!(answer.header("Accept-Encoding"), Some("identity"));
    }
    let body = br#"{"name":"a","text":"x"}"#;
    let plain = post(&mut client, "Content-Encoding: identity\r\n", body);
    assert_eq!(plain.status, 200);
}

/// A note as a body of `length` bytes, padded with spaces.
fn body_of(length: usize) -> Vec<u8> {
    let mut body = br#"{"name":"a","text":"x"}"#.to_vec();
    body.resize(length, b' ');
    body
}

#[test]
fn a_body_is_accepted_up_to_the_limit_whether_its_length_is_declared_or_not() {
    let database = Database::new();
    let replica = start(&database);
    let limit = 64 << 10;
    for (length, status) in [(limit, 200), (limit + 1, 413)] {
        let answer = post(&mut replica.client(), "", &body_of(length));
        assert_eq!(answer.status, status, "{length} bytes");
        let mut client = replica.client();
        client.send_raw(b"POST /notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send_raw(format!("{length:x}\r\n").as_bytes());
        client.send_raw(&body_of(length));
        client.send_raw(b"\r\n0\r\n\r\n");
        assert_eq!(client.receive().status, status, "{length} bytes in a chunk");
    }
}

#[test]
fn an_expectation_of_100_continue_is_answered_with_100() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    let body = body_of(23);
    client.send_raw(
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.receive().status, 100);
    client.send_raw(&body);
    assert_eq!(client.receive().status, 200);
}

#[test]
fn pipelined_requests_are_handled_in_order_however_long_the_bodies_are() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    for round in 0..50 {
        let text_of = |index: usize| format!("{round} {index} {}", "x".repeat(index % 2 * 4096));
        let all: Vec<u8> = (0..8)
            .flat_map(|index| store_request("a", &text_of(index)))
            .collect();
        client.send_raw(&all);
        for index in 0..8 {
            assert_eq!(client.receive().json()["text"], text_of(index));
        }
        assert_eq!(note_text(&mut client, "/notes/a"), text_of(7));
    }
}

#[test]
fn a_body_that_breaks_off_stores_nothing() {
    let database = Database::new();
    let replica = start(&database);
    let whole = store_request("a", &"x".repeat(4096));
    let mut client = replica.client();
    client.send_raw(&whole[..whole.len() - 1]);
    client.reset();
    assert_eq!(store(&mut replica.client(), "b", "x").status, 200);
    assert_eq!(database.rows::<String>("SELECT name FROM notes"), ["b"]);
}

/// Sends the head of a request that declares a body of this length, and no body.
fn send_head(client: &mut HttpClient, length: usize) {
    let head = format!("POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    client.send_raw(head.as_bytes());
}

#[test]
fn bodies_that_do_not_arrive_hold_up_no_other_request() {
    let database = Database::new();
    let replica = start_with(&database.url(), &["--workers", "2"]);
    let mut slow: Vec<HttpClient> = (0..4).map(|_| replica.client()).collect();
    for client in &mut slow {
        send_head(client, 2000);
    }
    let mut client = replica.client();
    assert_eq!(store(&mut client, "a", "x").status, 200);
    assert_eq!(note_text(&mut client, "/notes/a"), "x");
}

#[test]
fn bodies_that_do_not_arrive_do_not_delay_the_stop() {
    let database = Database::new();
    let mut replica = start(&database);
    let holder = lock_note(&database, "a");
    let mut clients: Vec<HttpClient> = (0..4).map(|_| replica.client()).collect();
    // Two of the connections have a request in progress already.
    for client in &mut clients[..2] {
        client.send_raw(&store_request("a", "x"));
    }
    for client in &mut clients {
        send_head(client, 2000);
    }
    // Including the request for the metrics.
    eventually("all have arrived", || {
        metric(&replica, "requests_open") == Some(7)
    });
    replica.terminate();
    replica.wait_for_line("stopping");
    drop(holder);
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
}

#[test]
fn no_request_behind_a_refused_body_is_handled_on_a_connection_that_is_announced_to_close() {
    let database = Database::new();
    let replica = start(&database);
    for framing in ["HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"] {
        let mut client = replica.client();
        let body = "x".repeat(70_000);
        let head = format!("POST /notes {framing}\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
        let next = store_request("ann", "behind it");
        client.send_raw(&[head.as_bytes(), body.as_bytes(), &next].concat());
        let answer = client.receive();
        assert_problem(&answer, 413, "");
        assert!(answer.headers.contains("Connection: close"), "{answer:?}");
        if let Some(next) = client.receive_if_any() {
            assert_problem(&next, 503, "Nothing more is taken");
        }
        assert!(client.is_closed_by_the_server());
    }
    assert_eq!(count(&database), 0);
}

#[test]
fn no_request_behind_a_refused_body_is_handled_however_long_the_body_takes() {
    let database = Database::new();
    let replica = start(&database);
    let mut client = replica.client();
    client.send_raw(b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
    assert_problem(&client.receive(), 413, "");
    for _ in 0..13 {
        client.send_raw(&[b'x'; 5_000]);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    client.send_raw(&[&[b'x'; 5_000][..], &store_request("ann", "behind it")].concat());
    assert!(client.is_closed_by_the_server());
    // A request behind the body would be handled after the lingering close.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(count(&database), 0);
}
