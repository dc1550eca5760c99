//! What replicas say to each other, as JSON.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::Error;
use crate::message::{NewMessage, Post, RenderedHistory, RequestId, Window};

/// Messages to be stored for another replica.
#[derive(Debug)]
pub struct Batch {
    /// Whom the sender takes the receiver for.
    pub to: Uuid,
    /// How long from now the sender leaves it to the receiver to begin.
    pub within: Duration,
    /// Within the limits of the contract, in their order.
    pub messages: Vec<(NewMessage, RequestId)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    to: Uuid,
    within_ms: u64,
    #[serde(borrow)]
    messages: Vec<Entry<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
    request_id: RequestId,
}

impl Batch {
    pub(super) fn render<'a>(
        to: Uuid,
        within: Duration,
        posts: impl Iterator<Item = &'a Post>,
    ) -> Vec<u8> {
        let entry = |post: &'a Post| Entry {
            user: post.message.user().into(),
            text: post.message.text().into(),
            request_id: post.request_id,
        };
        to_json(&Body {
            to,
            within_ms: within.as_millis().try_into().unwrap_or(u64::MAX),
            messages: posts.map(entry).collect(),
        })
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutsideLimit`]
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let body: Body<'_> =
            serde_json::from_slice(json).map_err(|error| Error::Malformed(error.to_string()))?;
        let message = |entry: Entry<'_>| {
            let message = NewMessage::new(entry.user.into_owned(), entry.text.into_owned())?;
            Ok((message, entry.request_id))
        };
        Ok(Self {
            to: body.to,
            within: Duration::from_millis(body.within_ms),
            messages: body
                .messages
                .into_iter()
                .map(message)
                .collect::<Result<_, Error>>()?,
        })
    }
}

/// What a replica says to one of which it takes batches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Its name for as long as it runs: a batch to another is refused.
    pub name: Uuid,
}

/// What came of a batch.
#[derive(Deserialize)]
struct Replies<'a> {
    /// All that the replies show, each message once for those that were stored together.
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    /// One for each message of the batch, in order.
    replies: Vec<Reply>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// This part of `messages`.
    Shown(Range<usize>),
    KeyReused,
}

/// What several windows show of the same history.
type Part<'a> = (&'a Arc<RenderedHistory>, Range<usize>);

/// Any error counts as [`Error::KeyReused`].
pub(super) fn render_replies(outcomes: &[Result<Window, Error>]) -> Vec<u8> {
    let parts = parts(outcomes);
    let mut json = br#"{"messages":["#.to_vec();
    let mut first_of = Vec::with_capacity(parts.len());
    let mut messages = 0;
    for (history, all) in &parts {
        if messages > 0 {
            json.push(b',');
        }
        let part = history
            .part(all.clone())
            .expect("it is made of its windows");
        json.extend_from_slice(part.messages());
        first_of.push(messages);
        messages += all.len();
    }
    let reply = |outcome: &Result<Window, Error>| {
        let Ok(window) = outcome else {
            return Reply::KeyReused;
        };
        let (history, shown) = window.origin();
        let part = position(&parts, history).expect("each window is in one");
        let start = first_of[part] + shown.start - parts[part].1.start;
        Reply::Shown(start..start + shown.len())
    };
    let replies: Vec<Reply> = outcomes.iter().map(reply).collect();
    json.extend_from_slice(br#"],"replies":"#);
    json.extend(to_json(&replies));
    json.push(b'}');
    json
}

fn parts(outcomes: &[Result<Window, Error>]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for (history, shown) in outcomes.iter().flatten().map(Window::origin) {
        if let Some(part) = position(&parts, history) {
            let all = &mut parts[part].1;
            *all = all.start.min(shown.start)..all.end.max(shown.end);
        } else {
            parts.push((history, shown));
        }
    }
    parts
}

fn position(parts: &[Part<'_>], history: &Arc<RenderedHistory>) -> Option<usize> {
    parts
        .iter()
        .position(|(other, _)| Arc::ptr_eq(other, history))
}

/// The outcomes of a batch of `count` messages. An error says what is wrong with the JSON.
pub(super) fn parse_replies(
    json: &[u8],
    count: usize,
) -> Result<Vec<Result<Window, Error>>, String> {
    let Replies { messages, replies } =
        serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if replies.len() != count {
        return Err(format!("{} replies to {count} messages", replies.len()));
    }
    let history = RenderedHistory::of_rendered(messages.into_iter().map(RawValue::get));
    let outcome = |reply| match reply {
        Reply::Shown(part) => history
            .part(part)
            .map(Ok)
            .ok_or_else(|| "a reply shows messages that are not there".to_owned()),
        Reply::KeyReused => Ok(Err(Error::KeyReused)),
    };
    replies.into_iter().map(outcome).collect()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have no map keys and no fallible field")
}
