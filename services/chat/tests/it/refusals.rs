//! Refused messages and handshakes, and the errors that clients get.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::Database;
use uuid::Uuid;

use crate::harness::{Client, web};

#[test]
fn a_refusal_names_its_message_and_whether_to_send_it_again() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    let id = Uuid::new_v4().to_string();
    for (username, message) in [("u", " "), ("u", "\u{200b}"), ("CRONTAB", "x"), ("", "x")] {
        client.send_frame(&json!({ "username": username, "message": message, "id": id }));
        let refused = client.next();
        assert!(refused["error"].is_string(), "{refused}");
        assert_eq!(
            (&refused["id"], &refused["again"]),
            (&json!(id), &json!(false))
        );
    }
    client.send_frame(&json!({ "username": "u", "message": "x", "id": id }));
    assert_eq!(client.next()["seq"], 1);
    client.send_frame(&json!({ "username": "u", "message": "y", "id": id }));
    assert_eq!(client.next()["id"], id);
    client.send_raw("{}");
    let unnamed = client.next();
    assert_eq!(
        (&unnamed["id"], &unnamed["again"]),
        (&json!(null), &json!(false))
    );
}

#[test]
fn a_text_of_the_most_characters_is_taken_however_it_is_escaped() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    let (text, name) = ("\\ud83d\\ude00".repeat(4000), "\\ud83d\\ude00".repeat(64));
    client.send_raw(&format!(
        r#"{{"group_id":1,"username":"{name}","message":"{text}","id":"{}"}}"#,
        Uuid::new_v4()
    ));
    assert_eq!(client.line(), ("😀".repeat(64), "😀".repeat(4000)));
}

#[test]
fn of_who_sends_a_little_too_fast_twenty_messages_a_second_are_taken() {
    const SENT: u32 = 250;
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    let begun = Instant::now();
    for number in 0..SENT {
        let at = number * Duration::from_millis(40);
        std::thread::sleep(at.saturating_sub(begun.elapsed()));
        client.send("u", "x");
    }
    let frames: Vec<_> = (0..SENT).map(|_| client.next()).collect();
    let taken = frames.iter().filter(|frame| frame["seq"].is_u64()).count();
    assert!((230..=250).contains(&taken), "{taken}");
    let refused = frames.iter().find(|frame| frame["error"].is_string());
    assert!(
        refused.is_none_or(|frame| frame["again"] == true),
        "{refused:?}"
    );
}

#[test]
fn nothing_but_a_get_in_http_1_1_becomes_a_socket() {
    let database = Database::new();
    let web = web(&database);
    for (begin, status) in [
        ("GET /chat/ws/1?group_name=r HTTP/1.1", "101"),
        ("GET /chat/ws/1?group_name=r HTTP/1.0", "426"),
        ("HEAD /chat/ws/1?group_name=r HTTP/1.1", "426"),
    ] {
        let mut stream = TcpStream::connect(web.address()).expect("it listens");
        let head = format!(
            "{begin}\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut line).expect("it answers");
        assert_eq!(line.split(' ').nth(1), Some(status), "{begin}: {line}");
    }
}
