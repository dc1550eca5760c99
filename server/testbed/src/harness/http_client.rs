//! A low-level HTTP client, for tests that check what is on the wire, and when.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::Socket;

use super::PATIENCE;

/// A keep-alive connection of an HTTP client.
#[derive(Debug)]
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and all header lines.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The messages of a reply; fails if the status is not 200.
    pub fn messages(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json().as_array().expect("a reply is an array").clone()
    }

    /// The message of the request itself.
    pub fn own(&self) -> Value {
        self.messages().pop().expect("a reply is not empty")
    }

    /// The `seq` of the message of the request itself.
    pub fn own_seq(&self) -> u64 {
        self.own()["seq"].as_u64().expect("seq is a number")
    }
}

impl HttpClient {
    /// Connects to a server.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the server listens")
    }

    /// Connects to a server that may be down.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect(address)?)
    }

    /// Continues on an existing connection.
    pub fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a message, and waits for the reply.
    pub fn post(&mut self, user: &str, text: &str) -> Answer {
        self.send_post(user, text, "");
        self.receive()
    }

    /// Sends a message with an idempotency key, and waits for the reply.
    pub fn post_with_key(&mut self, user: &str, text: &str, key: &str) -> Answer {
        self.send_post(user, text, &format!("Idempotency-Key: {key}\r\n"));
        self.receive()
    }

    /// As [`Self::post_with_key`], to a server that may go down meanwhile.
    pub fn try_post_with_key(&mut self, user: &str, text: &str, key: &str) -> io::Result<Answer> {
        let request = post(user, text, &format!("Idempotency-Key: {key}\r\n"));
        self.stream.get_mut().write_all(&request)?;
        self.try_receive()
    }

    /// Sends a message with additional header lines, without waiting.
    pub fn send_post(&mut self, user: &str, text: &str, headers: &str) {
        self.send_raw(&post(user, text, headers));
    }

    /// Sends any request with a body, and waits for the answer.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send_raw(&request(method, path, headers, body));
        if method == "HEAD" {
            self.try_receive_head().expect("an answer comes in time").0
        } else {
            self.receive()
        }
    }

    /// Sends a GET, and waits for the answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    /// The value of a time series in `/metrics`.
    ///
    /// # Panics
    /// If the series is missing.
    pub fn metric(&mut self, series: &str) -> u64 {
        let shown = String::from_utf8(self.get("/metrics").body).expect("the format is UTF-8");
        let line = format!("{series} ");
        let value = shown.lines().find_map(|shown| shown.strip_prefix(&line));
        let value = value.unwrap_or_else(|| panic!("no {series} in {shown}"));
        value.parse().expect("a whole number")
    }

    /// Sends any bytes.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("the server reads");
    }

    /// Waits for the next answer.
    pub fn receive(&mut self) -> Answer {
        self.try_receive().expect("an answer comes in time")
    }

    fn try_receive(&mut self) -> io::Result<Answer> {
        let (mut answer, length) = self.try_receive_head()?;
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// Waits for the next answer; `None` if the server closes the connection instead.
    pub fn receive_if_any(&mut self) -> Option<Answer> {
        let something = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        something.then(|| self.receive())
    }

    /// Resets the connection (RST), as a crash of the client does.
    pub fn reset(self) {
        let stream = Socket::from(self.stream.into_inner());
        stream.set_linger(Some(Duration::ZERO)).expect("it is open");
    }

    /// Reads to the end of the connection. Returns false if that fails, for instance by a timeout.
    pub fn is_closed_by_the_server(&mut self) -> bool {
        self.stream.read_to_end(&mut Vec::new()).is_ok()
    }

    fn try_receive_head(&mut self) -> io::Result<(Answer, usize)> {
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut headers)? == 0 {
                let closed = format!("the connection was closed after {headers:?}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, closed));
            }
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
        let length = match answer.header("Content-Length") {
            Some(length) => length.parse().ok(),
            // RFC 9110, section 8.6.
            None => matches!(answer.status, ..200 | 204 | 304).then_some(0),
        };
        Ok((
            answer,
            length.expect("every final answer declares its length"),
        ))
    }
}

fn post(user: &str, text: &str, headers: &str) -> Vec<u8> {
    let body = serde_json::json!({ "user": user, "text": text }).to_string();
    request(
        "POST",
        "/messages",
        &format!("Content-Type: application/json\r\n{headers}"),
        body.as_bytes(),
    )
}

fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}
