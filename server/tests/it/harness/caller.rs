//! A caller, byte by byte: tests must see what is on the wire, and when.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// One kept connection.
pub(crate) struct Caller {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The messages of a 200.
    pub(crate) fn messages(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json().as_array().expect("a reply is an array").clone()
    }

    /// The message of the request itself.
    pub(crate) fn own(&self) -> Value {
        self.messages().pop().expect("a reply is not empty")
    }

    pub(crate) fn own_seq(&self) -> u64 {
        self.own()["seq"].as_u64().expect("seq is a number")
    }
}

impl Caller {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("the socket is open");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a message and waits for the reply.
    pub(crate) fn post(&mut self, user: &str, text: &str) -> Answer {
        self.send_post(user, text, "");
        self.receive()
    }

    pub(crate) fn post_with_key(&mut self, user: &str, text: &str, key: &str) -> Answer {
        self.send_post(user, text, &format!("Idempotency-Key: {key}\r\n"));
        self.receive()
    }

    pub(crate) fn send_post(&mut self, user: &str, text: &str, headers: &str) {
        let body = serde_json::json!({ "user": user, "text": text }).to_string();
        self.send(
            "POST",
            "/messages",
            &format!("Content-Type: application/json\r\n{headers}"),
            body.as_bytes(),
        );
    }

    /// Sends any request with a body, and waits for the answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Answer {
        self.send(method, path, headers, body);
        if method == "HEAD" {
            self.receive_head().0
        } else {
            self.receive()
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.send_raw(&[head.as_bytes(), body].concat());
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("the server reads");
    }

    pub(crate) fn receive(&mut self) -> Answer {
        let (mut answer, length) = self.receive_head();
        answer.body = vec![0; length];
        self.stream
            .read_exact(&mut answer.body)
            .expect("the body is as long as declared");
        answer
    }

    /// Waits until there is nothing more to read.
    pub(crate) fn is_closed_by_the_server(&mut self) -> bool {
        self.stream.read_to_end(&mut Vec::new()).is_ok()
    }

    fn receive_head(&mut self) -> (Answer, usize) {
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            let length = self
                .stream
                .read_line(&mut headers)
                .expect("an answer comes in time");
            assert!(length > 0, "the connection was closed after {headers:?}");
        }
        let status = headers
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let answer = Answer {
            status: status.expect("a status line"),
            headers,
            body: Vec::new(),
        };
        let length = answer
            .header("Content-Length")
            .and_then(|length| length.parse().ok());
        (answer, length.expect("every answer declares its length"))
    }
}
