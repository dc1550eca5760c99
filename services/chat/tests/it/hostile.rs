//! Hostile clients: each is disconnected with the right code, and the others are served meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testbed::{Database, PATIENCE, Replica, eventually};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::{Client, End, narrow, store_lines, web};

/// A frame as it is sent, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a test's frame is short");
    let mut bytes = vec![first];
    if length <= 125 {
        bytes.push(MASKED | u8::try_from(length).expect("it is less"));
    } else {
        bytes.push(MASKED | LENGTH_16);
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

const MASKED: u8 = 0x80;
/// A length of 16 bits follows, or one of 64 bits.
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;
/// The first byte of a whole text frame, and of the first, a middle and the last fragment of a text message.
const TEXT: u8 = 0x81;
const FIRST: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;
const PING: u8 = 0x89;

fn end_after(web: &Replica, bytes: &[u8]) -> End {
    let mut client = Client::join(web, "r");
    client.stream().write_all(bytes).expect("the server reads");
    client.end()
}

#[test]
fn what_is_malformed_is_closed_with_the_code_that_says_how() {
    let database = Database::new();
    let web = web(&database);
    let mut witness = Client::join(&web, "witness");
    let unmasked = [TEXT, 2, b'h', b'i'];
    let long_ping = frame(PING, &[0; 126]);
    let declared = [TEXT, MASKED | LENGTH_64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let fragments: Vec<_> = (0..16)
        .flat_map(|part| frame(if part == 0 { FIRST } else { MIDDLE }, &[b'x'; 4000]))
        .collect();
    let cases: [(&str, &[u8], CloseCode); 12] = [
        (
            "a text that is not UTF-8",
            &frame(TEXT, &[b'x', 0xff]),
            CloseCode::Invalid,
        ),
        (
            "half a sign",
            &frame(TEXT, &[0xf0, 0x9f]),
            CloseCode::Invalid,
        ),
        (
            "a frame too long",
            &frame(TEXT, &vec![b'x'; (60 << 10) + 1]),
            CloseCode::Size,
        ),
        ("a length of 4 GiB", &declared, CloseCode::Size),
        ("many parts", &fragments, CloseCode::Size),
        ("no mask", &unmasked, CloseCode::Protocol),
        (
            "a reserved bit",
            &frame(TEXT | 0x40, b"{}"),
            CloseCode::Protocol,
        ),
        ("an unknown kind", &frame(0x83, b"{}"), CloseCode::Protocol),
        ("an unknown control", &frame(0x8b, b""), CloseCode::Protocol),
        ("a long ping", &long_ping, CloseCode::Protocol),
        ("a ping in parts", &frame(0x09, b""), CloseCode::Protocol),
        (
            "what goes on from nothing",
            &frame(LAST, b"x"),
            CloseCode::Protocol,
        ),
    ];
    for round in 0..25 {
        for (what, bytes, code) in &cases {
            assert_eq!(end_after(&web, bytes), End::Closed(Some(*code)), "{what}");
        }
        let text = round.to_string();
        witness.send("w", &text);
        assert_eq!(witness.line(), ("w".to_owned(), text));
    }
    eventually("all are gone", || {
        web.client().metric("chat_web_sockets") == 1
    });
}

#[test]
fn a_message_of_the_most_bytes_is_taken_and_one_of_several_parts_too() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    let text = "\\ud83d\\ude00".repeat(1000);
    let mut json = format!(r#"{{"username":"u","message":"{text}","x":""#).into_bytes();
    json.resize((60 << 10) - 2, b'x');
    json.extend(b"\"}");
    client
        .stream()
        .write_all(&frame(TEXT, &json))
        .expect("it reads");
    assert_eq!(client.line().1, "😀".repeat(1000));
    let (head, tail) = (br#"{"username":"u","mess"#, br#"age":"parts"}"#);
    for part in [frame(FIRST, head), frame(PING, b"?"), frame(LAST, tail)] {
        client.stream().write_all(&part).expect("it reads");
    }
    assert_eq!(client.line().1, "parts");
}

#[test]
fn who_sends_too_much_is_told_and_then_closed() {
    /// More than a client may send, however long the server takes to read them.
    const FRAMES: usize = 1000;
    let database = Database::new();
    let web = web(&database);
    let begun = Instant::now();
    let mut client = Client::join(&web, "r");
    let message = r#"{"username":"u","message":"x"}"#;
    let flood = frame(TEXT, message.as_bytes()).repeat(FRAMES);
    client.stream().write_all(&flood).expect("it reads");
    let (mut taken, mut refused) = (0, 0);
    let end = loop {
        match client.receive() {
            Ok(frame) if frame["error"].is_string() => refused += 1,
            Ok(_) => taken += 1,
            Err(end) => break end,
        }
    };
    assert_eq!(end, End::Closed(Some(CloseCode::Policy)));
    // Forty are accepted at once and forty refused, and then one more of each every 50 ms.
    let most = 40 + begun.elapsed().as_millis() / 50;
    assert!(
        taken <= most && (40..=most).contains(&refused),
        "{taken} taken, {refused} refused, {most} at most"
    );
    let mut client = Client::join(&web, "pings");
    let flood = frame(PING, b"").repeat(FRAMES);
    client.stream().write_all(&flood).expect("it reads");
    assert_eq!(client.end(), End::Closed(Some(CloseCode::Policy)));
}

#[test]
fn who_does_not_read_is_closed_and_the_others_see_all() {
    let database = Database::new();
    let web = web(&database);
    let mut non_reader = Client::join(&web, "r");
    socket2::SockRef::from(&*non_reader.stream())
        .set_recv_buffer_size(4096)
        .expect("it is open");
    let mut writers: Vec<_> = (0..8).map(|_| Client::join(&web, "r")).collect();
    let text = "€".repeat(4000);
    for _ in 0..30 {
        for writer in &mut writers {
            writer.send("w", &text);
        }
        // Three megabytes in all.
        let last = writers.len();
        for writer in &mut writers {
            // A notice says that the other client left.
            let lines = std::iter::repeat_with(|| writer.line());
            for (_, received) in lines.filter(|(username, _)| username == "w").take(last) {
                assert_eq!(received.len(), text.len());
            }
        }
    }
    assert_ne!(non_reader.end(), End::Silence);
}

#[test]
fn who_answers_no_ping_is_given_up_and_who_does_stays() {
    /// A ping without a payload, as a server sends it.
    const PING: [u8; 2] = [0x89, 0];
    let database = Database::new();
    let web = web(&database);
    let mut answers = Client::join(&web, "r");
    let begun = Instant::now();
    // It is not read from, so it answers no ping.
    let mut silent = Client::open(web.address(), "/chat/ws/41?group_name=r");
    let left = loop {
        match answers.receive() {
            Ok(frame) => break frame,
            Err(end) => assert_eq!((end, begun.elapsed() < 2 * PATIENCE), (End::Silence, true)),
        }
    };
    assert_eq!(left["username"], "user #41");
    let patience = begun.elapsed().as_secs();
    assert!((45..55).contains(&patience), "{patience} s");
    let mut sent = Vec::new();
    silent
        .stream()
        .read_to_end(&mut sent)
        .expect("it was ended");
    assert_eq!(sent, [PING, PING].concat(), "at 20 s and at 40 s");
    answers.send("u", "hi");
    assert_eq!(answers.line().1, "hi");
}

#[test]
fn thousands_of_handshakes_that_do_not_end_keep_nobody_from_being_served() {
    const HALF_OPEN: usize = 2000;
    let database = Database::new();
    let web = web(&database);
    let mut here = Client::join(&web, "r");
    let half: Vec<_> = (0..HALF_OPEN)
        .map(|_| {
            let mut stream = TcpStream::connect(web.address()).expect("it listens");
            let partial_head =
                b"GET /chat/ws/1?group_name=r HTTP/1.1\r\nHost: x\r\nConnection: Upg";
            stream.write_all(partial_head).expect("it reads");
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut there = Client::join(&web, "r");
    there.send("u", "hi");
    for client in [&mut here, &mut there] {
        assert_eq!(client.line().1, "hi");
    }
    // They are closed after a minute, and this must not be waited for.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    drop(half);
}

#[test]
fn what_comes_with_the_handshake_is_taken() {
    let database = Database::new();
    let web = web(&database);
    let mut stream = TcpStream::connect(web.address()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("it is open");
    let head = b"GET /chat/ws/1?group_name=r HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let message = frame(TEXT, br#"{"username":"u","message":"early"}"#);
    stream
        .write_all(&[&head[..], &message].concat())
        .expect("it reads");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"early\"") {
        let mut some = [0; 1024];
        let length = stream.read(&mut some).expect("it answers in time");
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..length]);
    }
}

#[test]
fn a_close_is_answered_with_its_code() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    client.send_message(Message::Close(None));
    assert_eq!(client.end(), End::Closed(None));
    eventually("it is gone", || {
        web.client().metric("chat_web_sockets") == 0
    });
}

#[test]
fn who_reads_a_long_history_a_little_at_a_time_keeps_nobody_from_entering() {
    // As many as there are threads that read history.
    const SLOW: usize = 8;
    let database = Database::new();
    let web = web(&database);
    store_lines(&database, "r", 1..=400, &"€".repeat(4000));
    let slow = |_| {
        let mut stream = narrow(web.address());
        let handshake = b"GET /chat/ws/1?group_name=r&after=0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(handshake).expect("it reads");
        // By then its history has begun.
        stream.read_exact(&mut [0; 2048]).expect("it writes");
        stream
    };
    let slow: Vec<_> = (0..SLOW).map(slow).collect();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(50)).is_err() {
            for mut stream in &slow {
                stream.set_nonblocking(true).expect("it is open");
                let _nothing_yet = stream.read(&mut [0; 2048]);
            }
        }
    });
    let begun = Instant::now();
    let mut client = Client::open(web.address(), "/chat/ws/2?group_name=other");
    client.send("u", "hi");
    assert_eq!(client.line().1, "hi");
    // History may take 10 s. Without that limit, the slow clients would read for two minutes.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    stop.send(()).expect("it reads on");
    reading.join().expect("it does not fail");
}
