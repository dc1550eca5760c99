//! The calls that a replica makes to its peer. The only part that names `ureq`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder, Timeout};
use uuid::Uuid;

use crate::error::Error;
use crate::message::Window;

use super::wire::{self, Welcome};

/// Characters of a foreign answer that the log shows.
const MOST_LOGGED: usize = 200;

/// A batch that was handed over, and not stored as far as is known.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// For the log.
    pub(crate) cause: String,
    /// Whether some of it may be stored, now or later.
    pub(crate) in_doubt: bool,
}

/// How long a call may take in all, looking up its address apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(Duration);

impl Budget {
    pub(super) fn new(all: Duration) -> Self {
        Self(all)
    }

    /// The time for the answer to begin. The other steps, which take next to none, share the rest.
    fn answer(self) -> Duration {
        self.0 / 2
    }

    fn limit<Any>(self, request: RequestBuilder<Any>) -> RequestBuilder<Any> {
        let step = Some(self.0 / 8);
        request
            .config()
            .timeout_connect(step)
            .timeout_send_request(step)
            .timeout_send_body(step)
            .timeout_recv_response(Some(self.answer()))
            .timeout_recv_body(step)
            .build()
    }

    /// What of it the peer has to begin to store: later it would do so while we do.
    pub(super) fn peer_s(self) -> Duration {
        self.answer() / 2
    }
}

/// Keeps the connection.
#[derive(Clone)]
pub(super) struct Caller {
    agent: Agent,
}

impl Caller {
    pub(super) fn new() -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        Self { agent }
    }

    /// The name of a replica, if it takes batches of one that shows the name `from` on the database.
    pub(super) fn name_of(
        &self,
        address: SocketAddr,
        from: Uuid,
        budget: Budget,
    ) -> Result<Uuid, String> {
        let request = self
            .agent
            .get(format!("http://{address}/batches?from={from}"));
        let response = budget.limit(request).call();
        let mut response = response.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(describe(&mut response));
        }
        let body = response.body_mut().read_to_string();
        let body = body.map_err(|error| error.to_string())?;
        let Welcome { name } = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        Ok(name)
    }

    /// Has a batch of `count` messages stored. None if the peer has no room for it, and stored nothing.
    pub(super) fn store(
        &self,
        address: SocketAddr,
        batch: &[u8],
        count: usize,
        budget: Budget,
    ) -> Option<Result<Vec<Result<Window, Error>>, Refusal>> {
        let request = self
            .agent
            .post(format!("http://{address}/batches"))
            .content_type("application/json");
        let mut response = match budget.limit(request).send(batch) {
            Ok(response) => response,
            Err(error) => return Some(Err(Refusal::of(&error))),
        };
        let status = response.status().as_u16();
        if status != 200 {
            // Read in any case: else the connection is not used again.
            let cause = describe(&mut response);
            return (status != Error::NoRoom.status()).then_some(Err(Refusal {
                cause,
                // What the contract says of them.
                in_doubt: !(status == 503 || (400..500).contains(&status)),
            }));
        }
        let replies = response.body_mut().with_config().limit(u64::MAX);
        let outcomes = replies
            .read_to_vec()
            .map_err(|error| error.to_string())
            .and_then(|replies| wire::parse_replies(&replies, count));
        Some(outcomes.map_err(|cause| Refusal {
            cause,
            in_doubt: true,
        }))
    }
}

impl Refusal {
    fn of(error: &ureq::Error) -> Self {
        let never_sent = match error {
            ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            ureq::Error::Timeout(step) => *step == Timeout::Connect,
            _ => false,
        };
        Self {
            cause: error.to_string(),
            in_doubt: !never_sent,
        }
    }
}

/// What an answer other than 200 says, the same for the same cause.
fn describe(response: &mut Response<Body>) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let body = response.body_mut().read_to_string().unwrap_or_default();
    let detail = serde_json::from_str(&body).map_or(body, |Problem { detail }| detail);
    let detail: String = detail.chars().take(MOST_LOGGED).collect();
    format!("it answers {}: {detail}", response.status().as_u16())
}
