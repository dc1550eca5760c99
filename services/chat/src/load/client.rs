//! One client: it comes back when it is cut off, resumes where it was, and sends again what it has not seen.

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
use super::judge::Shown;

/// The pauses between tries to connect.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};
/// What one of many sockets keeps in memory to read at once.
const READ_BUFFER: usize = 8 << 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client is to send: an id, and a text.
pub(super) type Outgoing = (Uuid, String);

/// What is read of each frame on each socket.
#[derive(Deserialize)]
struct Frame<'a> {
    seq: Option<u64>,
    #[serde(default)]
    kind: &'a str,
    id: Option<Uuid>,
    error: Option<String>,
    /// What was refused may be sent again later.
    #[serde(default)]
    again: bool,
}

/// Connects to one of these places, into a room. Fails with the cause if it cannot be reached.
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

/// Where a client's socket is, without the query.
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

/// Whether what was sent was taken, or is to be sent again.
#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    Not,
}

struct Client {
    shared: Rc<Shared>,
    number: usize,
    /// What was sent and is not seen yet.
    unseen: HashMap<Uuid, String>,
}

/// Runs until the program ends.
pub(super) async fn run(
    shared: Rc<Shared>,
    number: usize,
    mut outgoing: UnboundedReceiver<Outgoing>,
) {
    let mut client = Client {
        shared,
        number,
        unseen: HashMap::new(),
    };
    for attempt in 0.. {
        if let Ok(socket) = client.connect(attempt).await {
            client.shared.connected.update(|count| count + 1);
            client.shared.connects.update(|count| count + 1);
            let _lost = client.talk(socket, &mut outgoing).await;
            client.shared.connected.update(|count| count - 1);
        }
        tokio::time::sleep(RETRY.pause(3)).await;
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

    async fn talk(
        &mut self,
        mut socket: Socket,
        outgoing: &mut UnboundedReceiver<Outgoing>,
    ) -> Result<(), tungstenite::Error> {
        for (id, text) in &self.unseen {
            socket.send(frame(self.number, *id, text)).await?;
        }
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if self.take(&text) == Taken::Not {
                            // What is not seen yet is sent again on another connection.
                            return Ok(());
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                },
                Some((id, text)) = outgoing.recv() => {
                    self.unseen.insert(id, text.clone());
                    socket.send(frame(self.number, id, &text)).await?;
                }
            }
        }
    }

    fn take(&mut self, text: &str) -> Taken {
        match serde_json::from_str::<Frame<'_>>(text) {
            Err(_malformed) => self.complain(&format!("what it was shown is no frame: {text}")),
            Ok(Frame { again: true, .. }) => return Taken::Not,
            Ok(Frame {
                error: Some(error), ..
            }) => self.complain(&format!("it was refused: {error}")),
            Ok(frame) => self.see(&frame, text),
        }
        Taken::Yes
    }

    fn see(&mut self, frame: &Frame<'_>, text: &str) {
        let Some(seq) = frame.seq else {
            return self.complain(&format!("what it was shown has no number: {text}"));
        };
        let (before, digest) = self.position();
        if seq != before + 1 {
            self.complain(&format!("it was shown {seq} after {before}"));
        }
        let mut hasher = DefaultHasher::new();
        (digest, text).hash(&mut hasher);
        self.shared.positions.borrow_mut()[self.number] = (seq, hasher.finish());
        if frame.kind == "message" {
            if let Some(id) = frame.id {
                self.unseen.remove(&id);
            }
            self.time(text);
        }
        if self.number == 0 {
            match serde_json::from_str::<Shown>(text) {
                Ok(shown) => self.shared.shown.borrow_mut().push(shown),
                Err(error) => self.complain(&format!("what it was shown is no frame: {error}")),
            }
        }
    }

    fn time(&self, frame: &str) {
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

    fn complain(&self, what: &str) {
        let what = format!("socket {}: {what}", self.number);
        self.shared.violations.borrow_mut().push(what);
    }
}

fn frame(number: usize, id: Uuid, text: &str) -> Message {
    let username = format!("client {number}");
    let frame = serde_json::json!({ "username": username, "message": text, "id": id });
    Message::text(frame.to_string())
}
