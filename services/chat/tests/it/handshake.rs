//! Handshakes that are accepted, and those that are refused.

use testbed::{Database, HttpClient, Replica, eventually};

use crate::harness::{Client, web, web_with};

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a handshake with these headers. Returns the status, and the detail of the problem.
fn handshake(web: &Replica, target: &str, headers: &str) -> (u16, String) {
    let mut client = HttpClient::connect(web.address());
    let head = format!("GET {target} HTTP/1.1\r\nHost: chat.example:8000\r\n{headers}\r\n");
    client.send_raw(head.as_bytes());
    let answer = client.receive();
    if answer.status == 101 {
        let accept = answer.header("Sec-WebSocket-Accept");
        assert_eq!(
            accept,
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "RFC 6455, section 1.3"
        );
        return (101, String::new());
    }
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/problem+json")
    );
    let detail = answer.json()["detail"].as_str().map(str::to_owned);
    (answer.status, detail.expect("a problem has a detail"))
}

#[test]
fn a_handshake_is_taken_or_refused_with_a_problem_that_says_why() {
    let database = Database::new();
    let web = web(&database);
    let well_formed = format!("{UPGRADE}{VERSION}{KEY}");
    let long = format!("/chat/ws/1?group_name={}", "r".repeat(65));
    for (target, status, text) in [
        ("/chat/ws/1716400000000?group_name=MyChat", 101, ""),
        ("/chat/ws/0?group_name=%D0%BF%D1%80%D0%B8&after=7", 101, ""),
        ("/chat/ws/-1?group_name=r", 400, "client_id"),
        ("/chat/ws/+1?group_name=r", 400, "client_id"),
        ("/chat/ws/x?group_name=r", 400, "client_id"),
        (
            "/chat/ws/18446744073709551616?group_name=r",
            400,
            "client_id",
        ),
        ("/chat/ws/1", 400, "group_name"),
        ("/chat/ws/1?group_name=", 400, "group_name"),
        (&long, 400, "group_name"),
        ("/chat/ws/1?group_name=r&after=-1", 400, "query"),
        ("/chat/ws/1/2?group_name=r", 404, "nothing"),
    ] {
        let (found, detail) = handshake(&web, target, &well_formed);
        assert_eq!(found, status, "{target}: {detail}");
        assert!(detail.contains(text), "{target}: {detail}");
    }
    for (headers, status) in [
        (format!("{VERSION}{KEY}"), 426),
        (
            format!("Connection: upgrade\r\nUpgrade: h2c\r\n{VERSION}{KEY}"),
            426,
        ),
        (format!("{UPGRADE}Sec-WebSocket-Version: 8\r\n{KEY}"), 426),
        (format!("{UPGRADE}{KEY}"), 426),
        (format!("{UPGRADE}{VERSION}"), 400),
        (format!("{UPGRADE}{VERSION}{KEY}{KEY}"), 400),
        (
            format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: short\r\n"),
            400,
        ),
    ] {
        let (found, detail) = handshake(&web, "/chat/ws/1?group_name=r", &headers);
        assert_eq!(found, status, "{headers}: {detail}");
    }
}

#[test]
fn a_page_of_another_site_opens_no_socket_unless_it_is_allowed() {
    let database = Database::new();
    let web = web_with(
        &database,
        &[
            "--allowed-origins",
            "https://one.example,https://two.example",
        ],
    );
    for (origin, status) in [
        ("", 101),
        ("Origin: http://chat.example:8000\r\n", 101),
        ("Origin: https://Chat.example:8000\r\n", 101),
        ("Origin: https://two.example\r\n", 101),
        ("Origin: http://chat.example\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: http://chat.example:8000.evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let headers = format!("{UPGRADE}{VERSION}{KEY}{origin}");
        let (found, _) = handshake(&web, "/chat/ws/1?group_name=r", &headers);
        assert_eq!(found, status, "{origin}");
    }
}

#[test]
fn the_page_is_served_beside_the_sockets_and_known_files_are_not_sent_again() {
    let database = Database::new();
    let web = web(&database);
    let _socket = Client::join(&web, "r");
    let mut client = web.client();
    let redirect = client.get("/");
    assert_eq!(
        (redirect.status, redirect.header("Location")),
        (303, Some("/pages/chat"))
    );
    for (path, media_type) in [
        ("/pages/chat", "text/html"),
        ("/pages/chat.css", "text/css"),
        ("/pages/chat.js", "text/javascript"),
    ] {
        let file = client.get(path);
        assert_eq!(file.status, 200, "{path}");
        let found = file.header("Content-Type").expect("it has a type");
        assert!(found.starts_with(media_type), "{found}");
        let policy = file
            .header("Content-Security-Policy")
            .expect("it has a policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let tag = file.header("ETag").expect("it has a tag");
        let again = client.request("GET", path, &format!("If-None-Match: {tag}\r\n"), b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    assert_eq!(client.get("/pages/other").status, 404);
    assert_eq!(client.get("/healthz").status, 200);
    eventually("it is ready", || client.get("/readyz").status == 200);
    let contract = client.get("/openapi.json").json();
    assert!(contract["paths"]["/chat/ws/{client_id}"]["get"].is_object());
    eventually("the socket is counted", || {
        web.client().metric("chat_web_sockets") == 1
    });
}
