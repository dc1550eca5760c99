//! The giving side: who the peer is, whether it is there, and a batch on its way to it and back.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ureq::Agent;
use url::Url;
use uuid::Uuid;

use crate::error::Error;
use crate::message::{Post, Window};
use crate::store::{self, Store};

use super::wire::{self, Welcome};

/// How often a peer that is not there is asked again.
const INTERVAL: Duration = Duration::from_millis(200);

/// Where a replica is.
#[derive(Debug, Clone)]
pub struct PeerUrl(Url);

impl FromStr for PeerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write it like http://127.0.0.1:8001";
        let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !bare || !url.username().is_empty() {
            return Err(format!(
                "a replica is named by http, host and port alone; {example}"
            ));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The replica that stores for this one.
pub struct Peer {
    line: Arc<Line>,
    /// Tells the watch that it is not there any more.
    lost: Sender<()>,
    /// Larger batches are not handed over: the peer takes no larger body.
    most_bytes: usize,
}

/// A batch that was handed over, and not stored as far as is known.
#[derive(Debug)]
pub struct Refusal {
    /// For the log.
    pub cause: String,
    /// Whether some of it may be stored, now or later.
    pub in_doubt: bool,
}

/// What the peer is asked through, and who is at the other end.
struct Line {
    agent: Agent,
    batches: String,
    /// The name that the peer gave itself, while it is there. It draws another one when it is started again.
    name: Mutex<Option<Uuid>>,
}

impl Peer {
    /// Starts a thread that asks whether the peer is there, for as long as this exists.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(PeerUrl(url): PeerUrl, store: Store, most_bytes: usize) -> io::Result<Self> {
        // No limit for finding its address: for that a thread would be started with each batch.
        let patience = Some(store.timeouts().patience());
        let agent = Agent::config_builder()
            .timeout_connect(patience)
            .timeout_send_body(patience)
            .timeout_recv_response(patience)
            .timeout_recv_body(patience)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        let line = Arc::new(Line {
            agent,
            batches: format!("{url}batches"),
            name: Mutex::default(),
        });
        let (lost, losses) = bounded(1);
        let watched = Arc::clone(&line);
        std::thread::Builder::new()
            .name("peer".to_owned())
            .spawn(move || watched.watch(&store, &losses))?;
        Ok(Self {
            line,
            lost,
            most_bytes,
        })
    }

    /// Has it store these messages. None if it is not there, or they are too many for it: then they were not sent.
    pub fn store<'a>(
        &self,
        posts: impl ExactSizeIterator<Item = &'a Post>,
    ) -> Option<Result<Vec<Result<Window, Error>>, Refusal>> {
        let name = self.line.name()?;
        let count = posts.len();
        let batch = wire::Batch::render(name, posts);
        if batch.len() > self.most_bytes {
            return None;
        }
        let stored = self.line.send(&batch, count);
        if stored.is_err() {
            self.line.set_name(None);
            // If it is full, the watch knows already.
            let _told = self.lost.try_send(());
        }
        Some(stored)
    }
}

impl Line {
    fn send(&self, batch: &[u8], count: usize) -> Result<Vec<Result<Window, Error>>, Refusal> {
        let doubt = |cause| Refusal {
            cause,
            in_doubt: true,
        };
        let mut response = self
            .agent
            .post(&self.batches)
            .content_type("application/json")
            .send(batch)
            .map_err(|error| Refusal::of(&error))?;
        let status = response.status().as_u16();
        let body = response.body_mut();
        if status != 200 {
            return Err(Refusal {
                cause: format!("{status} {}", body.read_to_string().unwrap_or_default()),
                // What the contract says of them.
                in_doubt: !(status == 503 || (400..500).contains(&status)),
            });
        }
        let replies = body
            .with_config()
            .limit(u64::MAX)
            .read_to_vec()
            .map_err(|error| doubt(error.to_string()))?;
        wire::parse_replies(&replies, count).map_err(doubt)
    }

    /// Ends when nobody hands over any more.
    fn watch(&self, store: &Store, losses: &Receiver<()>) {
        let mut told = false;
        loop {
            match self.ask(store) {
                Ok(name) => {
                    tracing::info!(peer = self.batches, "handing batches over");
                    self.set_name(Some(name));
                    told = false;
                    if losses.recv().is_err() {
                        return;
                    }
                }
                Err(cause) if !told => {
                    tracing::warn!(peer = self.batches, cause, "handing no batches over");
                    told = true;
                }
                Err(_) => {}
            }
            if losses.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Who the peer is, if it works on this database.
    fn ask(&self, store: &Store) -> Result<Uuid, String> {
        let from = Uuid::new_v4();
        let mut connection = store.connection().map_err(|error| error.to_string())?;
        store::show_name(&mut connection, from).map_err(|error| {
            connection.give_up();
            error.to_string()
        })?;
        let answered = self.ask_as(from);
        if store::hide_name(&mut connection, from).is_err() {
            connection.give_up();
        }
        answered
    }

    fn ask_as(&self, from: Uuid) -> Result<Uuid, String> {
        let url = format!("{}?from={from}", self.batches);
        let mut response = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| error.to_string())?;
        let body = response
            .body_mut()
            .read_to_string()
            .map_err(|error| error.to_string())?;
        match response.status().as_u16() {
            200 => serde_json::from_str(&body)
                .map(|Welcome { name }| name)
                .map_err(|error| error.to_string()),
            status => Err(format!("{status} {body}")),
        }
    }

    fn name(&self) -> Option<Uuid> {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_name(&self, name: Option<Uuid>) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }
}

impl Refusal {
    fn of(error: &ureq::Error) -> Self {
        let never_sent = match error {
            ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            ureq::Error::Timeout(timeout) => *timeout == ureq::Timeout::Connect,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            _ => false,
        };
        Self {
            cause: error.to_string(),
            in_doubt: !never_sent,
        }
    }
}
