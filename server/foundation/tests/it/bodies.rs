//! Bodies: which are taken, and by whom they are waited for.

use testbed::{Answer, Caller, Database, eventually};

use crate::harness::{
    assert_problem, count, hold, metric, start, start_with, store, storing, text,
};

fn post(caller: &mut Caller, headers: &str, body: &[u8]) -> Answer {
    caller.request("POST", "/notes", headers, body)
}

#[test]
fn a_body_that_is_not_of_the_handlers_type_is_refused_with_a_reason() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    for (body, said) in [
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
        assert_problem(&post(&mut caller, "", body), 400, said);
    }
    assert_eq!(count(&database), 0);
}

#[test]
fn what_a_handler_does_not_take_is_its_own_problem() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    for (length, status) in [(0, 422), (1, 200), (64, 200), (65, 422)] {
        let answer = store(&mut caller, &"\u{1f33b}".repeat(length), "x");
        assert_eq!(answer.status, status, "{length} characters");
    }
}

#[test]
fn a_body_is_json_unless_it_is_declared_to_be_something_else() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
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
        let answer = post(&mut caller, &header, br#"{"name":"a","text":"x"}"#);
        assert_eq!(answer.status, status, "{kind:?}");
    }
}

#[test]
fn a_body_that_is_coded_is_refused_with_the_coding_that_is_taken() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    for coding in ["gzip", "identity, gzip", "br"] {
        let header = format!("Content-Encoding: {coding}\r\n");
        let answer = post(&mut caller, &header, br#"{"name":"a","text":"x"}"#);
        assert_problem(&answer, 415, "Content-Encoding");
        assert_eq!(answer.header("Accept-Encoding"), Some("identity"));
    }
    let body = br#"{"name":"a","text":"x"}"#;
    let plain = post(&mut caller, "Content-Encoding: identity\r\n", body);
    assert_eq!(plain.status, 200);
}

/// A note as a body of so many bytes.
fn body_of(length: usize) -> Vec<u8> {
    let mut body = br#"{"name":"a","text":"x"}"#.to_vec();
    body.resize(length, b' ');
    body
}

#[test]
fn a_body_is_taken_up_to_the_limit_whether_its_length_is_declared_or_not() {
    let database = Database::new();
    let replica = start(&database);
    let limit = 64 << 10;
    for (length, status) in [(limit, 200), (limit + 1, 413)] {
        let answer = post(&mut replica.caller(), "", &body_of(length));
        assert_eq!(answer.status, status, "{length} bytes");
        let mut caller = replica.caller();
        caller.send_raw(b"POST /notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        caller.send_raw(format!("{length:x}\r\n").as_bytes());
        caller.send_raw(&body_of(length));
        caller.send_raw(b"\r\n0\r\n\r\n");
        assert_eq!(caller.receive().status, status, "{length} bytes in a chunk");
    }
}

#[test]
fn a_body_that_waits_to_be_asked_for_is_asked_for() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    let body = body_of(23);
    caller.send_raw(
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(caller.receive().status, 100);
    caller.send_raw(&body);
    assert_eq!(caller.receive().status, 200);
}

#[test]
fn what_is_sent_ahead_is_done_in_its_order_however_long_the_bodies_are() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    for round in 0..50 {
        let text_of = |index: usize| format!("{round} {index} {}", "x".repeat(index % 2 * 4096));
        let all: Vec<u8> = (0..8)
            .flat_map(|index| storing("a", &text_of(index)))
            .collect();
        caller.send_raw(&all);
        for index in 0..8 {
            assert_eq!(caller.receive().json()["text"], text_of(index));
        }
        assert_eq!(text(&mut caller, "/notes/a"), text_of(7));
    }
}

#[test]
fn a_body_that_breaks_off_stores_nothing() {
    let database = Database::new();
    let replica = start(&database);
    let whole = storing("a", &"x".repeat(4096));
    let mut caller = replica.caller();
    caller.send_raw(&whole[..whole.len() - 1]);
    caller.reset();
    assert_eq!(store(&mut replica.caller(), "b", "x").status, 200);
    assert_eq!(database.rows::<String>("SELECT name FROM notes"), ["b"]);
}

/// The head of a note whose body of this length does not follow.
fn send_head(caller: &mut Caller, length: usize) {
    let head = format!("POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    caller.send_raw(head.as_bytes());
}

#[test]
fn bodies_that_do_not_come_hold_up_nobody_else() {
    let database = Database::new();
    let replica = start_with(&database.url(), &["--workers", "2"]);
    let mut slow: Vec<Caller> = (0..4).map(|_| replica.caller()).collect();
    for caller in &mut slow {
        send_head(caller, 2000);
    }
    let mut caller = replica.caller();
    assert_eq!(store(&mut caller, "a", "x").status, 200);
    assert_eq!(text(&mut caller, "/notes/a"), "x");
}

#[test]
fn bodies_that_do_not_come_hold_up_no_stop() {
    let database = Database::new();
    let mut replica = start(&database);
    let holder = hold(&database, "a");
    let mut callers: Vec<Caller> = (0..4).map(|_| replica.caller()).collect();
    // On two of the connections something is done before.
    for caller in &mut callers[..2] {
        caller.send_raw(&storing("a", "x"));
    }
    for caller in &mut callers {
        send_head(caller, 2000);
    }
    // With the one that asks.
    eventually("all have come", || {
        metric(&replica, "requests_open") == Some(7)
    });
    replica.terminate();
    replica.wait_for_line("stopping");
    drop(holder);
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
}

#[test]
fn nothing_is_done_behind_a_refused_body_on_a_connection_that_is_said_to_be_closed() {
    let database = Database::new();
    let replica = start(&database);
    for framing in ["HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"] {
        let mut caller = replica.caller();
        let body = "x".repeat(70_000);
        let head = format!("POST /notes {framing}\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
        let next = storing("ann", "behind it");
        caller.send_raw(&[head.as_bytes(), body.as_bytes(), &next].concat());
        let answer = caller.receive();
        assert_problem(&answer, 413, "");
        assert!(answer.headers.contains("Connection: close"), "{answer:?}");
        if let Some(next) = caller.receive_if_any() {
            assert_problem(&next, 503, "Nothing more is taken");
        }
        assert!(caller.is_closed_by_the_server());
    }
    assert_eq!(count(&database), 0);
}

#[test]
fn nothing_is_done_behind_a_refused_body_however_long_that_takes() {
    let database = Database::new();
    let replica = start(&database);
    let mut caller = replica.caller();
    caller.send_raw(b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
    assert_problem(&caller.receive(), 413, "");
    for _ in 0..13 {
        caller.send_raw(&[b'x'; 5_000]);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    caller.send_raw(&[&[b'x'; 5_000][..], &storing("ann", "behind it")].concat());
    assert!(caller.is_closed_by_the_server());
    // It would be done when the connection has lingered.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(count(&database), 0);
}
