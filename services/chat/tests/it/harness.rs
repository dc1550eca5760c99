//! The processes of a test, and its clients.

use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use testbed::{Database, PATIENCE, Replica, program};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// Bits of proofs in tests, which are found in a fraction of a millisecond.
const BITS: &str = "12";

fn chat(subcommand: &str, database_url: &str) -> Command {
    let mut command = program("chat").expect("tests of the package build it");
    command.arg(subcommand).envs([
        ("DATABASE_URL", database_url),
        ("LISTEN", "127.0.0.1:0"),
        ("POW_BITS", BITS),
    ]);
    command
}

fn start(subcommand: &str, database_url: &str, options: &[&str]) -> Replica {
    let mut process = Replica::run(chat(subcommand, database_url).args(options));
    process.wait_until_ready();
    process
}

pub(crate) fn web(database: &Database) -> Replica {
    start("web", &database.url(), &[])
}

pub(crate) fn web_with(database: &Database, options: &[&str]) -> Replica {
    start("web", &database.url(), options)
}

/// Starts a web process on a fixed address, for the first time or again.
pub(crate) fn web_again(database: &Database, address: SocketAddr) -> Replica {
    start("web", &database.url(), &["--listen", &address.to_string()])
}

pub(crate) fn messager(database: &Database) -> Replica {
    messager_with(database, &[])
}

pub(crate) fn messager_with(database: &Database, options: &[&str]) -> Replica {
    start("messager", &database.url(), options)
}

pub(crate) fn worker(database: &Database) -> Replica {
    start("worker", &database.url(), &[])
}

/// Stores messages in a room as another process would, all in one transaction.
pub(crate) fn store_lines(database: &Database, room: &str, seqs: RangeInclusive<u64>, text: &str) {
    let mut connection = database.connect();
    let mut run = |query: String| connection.query_drop(query).expect("the query is right");
    run("BEGIN".to_owned());
    let last = seqs.end();
    run(format!(
        "INSERT INTO rooms (name, last_seq) VALUES ('{room}', {last}) ON DUPLICATE KEY UPDATE last_seq = {last}"
    ));
    for seq in seqs {
        run(format!(
            "INSERT INTO messages (room_id, seq, id, kind, username, text, sent_at)
             SELECT id, {seq}, UNHEX(LPAD(HEX({seq}), 32, '0')), 'message', 'u', '{text}', UTC_TIMESTAMP(6)
             FROM rooms
             WHERE name = '{room}'"
        ));
    }
    run("COMMIT".to_owned());
}

/// A connection for which the kernel buffers only a few thousand bytes: its window and its segments are small.
pub(crate) fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    let socket = socket.expect("a descriptor is free");
    socket.set_recv_buffer_size(4096).expect("it is open");
    socket.set_tcp_mss(536).expect("it is open");
    socket.connect(&address.into()).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is open");
    socket.into()
}

/// A WebSocket client.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// Opens a socket in a room, as client number 7.
    pub(crate) fn join(web: &Replica, room: &str) -> Self {
        Self::open(web.address(), &format!("/chat/ws/7?group_name={room}"))
    }

    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, target).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr, target: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        Self::try_on_stream(stream, target)
    }

    /// Opens a socket on a [`narrow`] connection.
    pub(crate) fn open_narrow(address: SocketAddr, target: &str) -> Self {
        let stream = narrow(address);
        Self::try_on_stream(stream, target).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    fn try_on_stream(stream: TcpStream, target: &str) -> Result<Self, String> {
        let address = stream.peer_addr().map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
        stream.set_nodelay(true).expect("it is open");
        let url = format!("ws://{address}{target}");
        let (socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
        Ok(Self { socket })
    }

    /// The TCP stream, for malformed input.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    pub(crate) fn send(&mut self, username: &str, message: &str) {
        self.send_frame(&json!({ "group_id": 1, "username": username, "message": message }));
    }

    pub(crate) fn send_frame(&mut self, frame: &Value) {
        self.send_raw(&frame.to_string());
    }

    pub(crate) fn send_raw(&mut self, frame: &str) {
        self.socket
            .send(Message::text(frame))
            .expect("the server reads");
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        self.socket.send(message).expect("the server reads");
    }

    /// Returns the next frame.
    pub(crate) fn next(&mut self) -> Value {
        match self.receive() {
            Ok(frame) => frame,
            Err(end) => panic!("no frame, but {end:?}"),
        }
    }

    /// Returns the next frame, or how the socket ended.
    pub(crate) fn receive(&mut self) -> Result<Value, End> {
        let begun = Instant::now();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Ok(Message::Close(frame)) => {
                    return Err(End::Closed(frame.map(|frame| frame.code)));
                }
                Ok(_ping) if begun.elapsed() < PATIENCE => {}
                Ok(_ping) => return Err(End::Silence),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(End::Silence);
                }
                Err(_) => return Err(End::Lost),
            }
        }
    }

    /// Returns username and text of the next frame.
    pub(crate) fn line(&mut self) -> (String, String) {
        let frame = self.next();
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        (text("username"), text("message"))
    }

    /// Returns the frames up to the one with this number.
    pub(crate) fn up_to(&mut self, seq: u64) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next();
            let found = frame["seq"].as_u64() == Some(seq);
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// Fails if a frame comes within this time.
    pub(crate) fn assert_silent(&mut self, time: Duration) {
        self.set_patience(time);
        let end = self.receive();
        assert_eq!(end, Err(End::Silence));
        self.set_patience(PATIENCE);
    }

    fn set_patience(&self, time: Duration) {
        let stream = self.socket.get_ref();
        stream.set_read_timeout(Some(time)).expect("it is open");
    }

    /// Returns how the socket ends, and ignores frames before that.
    pub(crate) fn end(&mut self) -> End {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Err(end) = self.receive() {
                return end;
            }
        }
        End::Silence
    }

    /// Closes the socket with a closing handshake.
    pub(crate) fn leave(mut self) {
        self.socket.close(None).expect("it is open");
        while self.socket.read().is_ok() {}
    }
}

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed(Option<CloseCode>),
    Lost,
    /// It did not end in time.
    Silence,
}

/// The numbers of frames.
pub(crate) fn seqs(frames: &[Value]) -> Vec<u64> {
    frames
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}

/// Starts a web process on the database at a URL.
pub(crate) fn web_at(database_url: &str) -> Replica {
    start("web", database_url, &[])
}
