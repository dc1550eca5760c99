//! One client: it reconnects when its connection is lost, resumes after the last message that it received, and sends its
//! unacknowledged messages again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use foundation::backoff::Backoff;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tungstenite::Message;
use tungstenite::protocol::WebSocketConfig;
use url::Url;
use uuid::Uuid;

use super::Shared;
use super::checker::Line;

/// The pauses between attempts to connect.
const RETRY_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};
/// The read buffer of a socket, which it keeps in memory.
const READ_BUFFER: usize = 8 << 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A message to send: its id and its text.
pub(super) type Outgoing = (Uuid, String);

/// The members of a frame that every socket checks.
#[derive(Deserialize)]
struct Frame<'a> {
    seq: Option<u64>,
    #[serde(default)]
    kind: &'a str,
    id: Option<Uuid>,
    error: Option<String>,
    /// Whether a refused message may be sent again later.
    #[serde(default)]
    again: bool,
}

/// Connects to the web process at a URL; the query names the room. Fails with the cause if it cannot be reached.
pub(super) async fn connect(
    base: &str,
    query: &[(&str, &str)],
    client: usize,
) -> Result<Socket, String> {
    let mut url = socket_url(base, client)?;
    url.query_pairs_mut().extend_pairs(query);
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let connecting = tokio_tungstenite::connect_async_with_config(url.as_str(), Some(config), true);
    match connecting.await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(format!("cannot connect to {base}: {error}")),
    }
}

/// The URL of a client's socket, without the query.
fn socket_url(base: &str, client: usize) -> Result<Url, String> {
    let mut url: Url = base
        .parse()
        .map_err(|error| format!("{base:?} is no URL: {error}"))?;
    let scheme = match url.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(format!("{base:?} is none of http, https, ws and wss")),
    };
    url.set_scheme(scheme).expect("one of these can be another");
    url.set_path(&format!("/chat/ws/{client}"));
    url.set_query(None);
    Ok(url)
}

/// Whether to go on after a frame, or to connect again.
#[derive(PartialEq, Eq)]
enum Action {
    Continue,
    Reconnect,
}

struct Client {
    shared: Rc<Shared>,
    number: usize,
    /// Messages that were sent, and have not come back from the server yet.
    unacknowledged: HashMap<Uuid, String>,
}

/// Runs a client until the program ends.
pub(super) async fn run(
    shared: Rc<Shared>,
    number: usize,
    mut outgoing: UnboundedReceiver<Outgoing>,
) {
    let mut client = Client {
        shared,
        number,
        unacknowledged: HashMap::new(),
    };
    for attempt in 0.. {
        if let Ok(socket) = client.connect(attempt).await {
            client.shared.connected.update(|count| count + 1);
            client.shared.connects.update(|count| count + 1);
            let _lost = client.run_connection(socket, &mut outgoing).await;
            client.shared.connected.update(|count| count - 1);
        }
        tokio::time::sleep(RETRY_BACKOFF.pause(3)).await;
    }
}

impl Client {
    async fn connect(&self, attempt: usize) -> Result<Socket, String> {
        let urls = &self.shared.urls;
        let base = &urls[(self.number + attempt) % urls.len()];
        let seen = self.position().0.to_string();
        let query = [("group_name", self.shared.room.as_str()), ("after", &seen)];
        connect(base, &query, self.number).await
    }

    async fn run_connection(
        &mut self,
        mut socket: Socket,
        outgoing: &mut UnboundedReceiver<Outgoing>,
    ) -> Result<(), tungstenite::Error> {
        for (id, text) in &self.unacknowledged {
            socket.send(frame(self.number, *id, text)).await?;
        }
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if self.handle_frame(&text) == Action::Reconnect {
                            // The refused message is sent again on the next connection.
                            return Ok(());
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                },
                Some((id, text)) = outgoing.recv() => {
                    self.unacknowledged.insert(id, text.clone());
                    socket.send(frame(self.number, id, &text)).await?;
                }
            }
        }
    }

    fn handle_frame(&mut self, text: &str) -> Action {
        match serde_json::from_str::<Frame<'_>>(text) {
            Err(_malformed) => {
                self.report_violation(&format!("what it was shown is no frame: {text}"));
            }
            Ok(Frame { again: true, .. }) => return Action::Reconnect,
            Ok(Frame {
                error: Some(error), ..
            }) => self.report_violation(&format!("it was refused: {error}")),
            Ok(frame) => self.record_frame(&frame, text),
        }
        Action::Continue
    }

    fn record_frame(&mut self, frame: &Frame<'_>, text: &str) {
        let Some(seq) = frame.seq else {
            return self.report_violation(&format!("what it was shown has no number: {text}"));
        };
        let (before, digest) = self.position();
        if seq != before + 1 {
            self.report_violation(&format!("it was shown {seq} after {before}"));
        }
        let mut hasher = DefaultHasher::new();
        (digest, text).hash(&mut hasher);
        self.shared.positions.borrow_mut()[self.number] = (seq, hasher.finish());
        if frame.kind == "message" {
            if let Some(id) = frame.id {
                self.unacknowledged.remove(&id);
            }
            self.record_latency(text);
        }
        if self.number == 0 {
            match serde_json::from_str::<Line>(text) {
                Ok(shown) => self.shared.shown.borrow_mut().push(shown),
                Err(error) => {
                    self.report_violation(&format!("what it was shown is no frame: {error}"));
                }
            }
        }
    }

    fn record_latency(&self, frame: &str) {
        let sent = frame.split_once("\"message\":\"").and_then(|(_, text)| {
            let (micros, _) = text.split_once(' ')?;
            micros.parse().ok().map(Duration::from_micros)
        });
        if let Some(sent) = sent {
            let took = self.shared.start.elapsed().saturating_sub(sent);
            let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.shared.latencies.borrow_mut().push(micros);
        }
    }

    fn position(&self) -> (u64, u64) {
        self.shared.positions.borrow()[self.number]
    }

    fn report_violation(&self, what: &str) {
        let what = format!("socket {}: {what}", self.number);
        self.shared.violations.borrow_mut().push(what);
    }
}

fn frame(number: usize, id: Uuid, text: &str) -> Message {
    let username = format!("client {number}");
    let frame = serde_json::json!({ "username": username, "message": text, "id": id });
    Message::text(frame.to_string())
}
