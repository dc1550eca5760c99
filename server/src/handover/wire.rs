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
    #[serde(with = "RequestIdForm")]
    request_id: RequestId,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RequestId", rename_all = "snake_case")]
enum RequestIdForm {
    Caller(Uuid),
    Server(Uuid),
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chrono::DateTime;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    use super::*;
    use crate::message::{Message, NewMessage};

    fn history(messages: usize, text: &str) -> Arc<RenderedHistory> {
        let messages: Vec<_> = (1..=messages as u64)
            .map(|seq| Message {
                seq,
                user: "ann".into(),
                user_seq: seq,
                text: text.into(),
                sent_at: DateTime::UNIX_EPOCH,
            })
            .collect();
        RenderedHistory::new(&messages)
    }

    /// What a caller would see.
    fn shown(outcomes: &[Result<Window, Error>]) -> Vec<Result<&[u8], &Error>> {
        (outcomes.iter())
            .map(|outcome| outcome.as_ref().map(Window::messages))
            .collect()
    }

    /// Windows of several histories, which overlap or lie apart, in any order, and keys that were used.
    fn outcomes() -> impl Strategy<Value = Vec<Result<Window, Error>>> {
        let histories = prop::collection::vec((1..40_usize, r#"[a,\]"\\\n{}é]{1,6}"#), 1..4);
        let picks = prop::collection::vec(prop::option::of(any::<(Index, Index)>()), 0..40);
        (histories, picks).prop_map(|(histories, picks)| {
            let histories: Vec<_> = (histories.iter())
                .map(|(messages, text)| (*messages, history(*messages, text)))
                .collect();
            let outcome = |pick: Option<(Index, Index)>| {
                let (one, last) = pick.ok_or(Error::KeyReused)?;
                let (messages, history) = one.get(&histories);
                Ok(history.window(last.index(*messages)))
            };
            picks.into_iter().map(outcome).collect()
        })
    }

    #[test]
    fn replies_of_one_history_show_each_message_once() {
        let history = history(30, "x");
        let outcomes: Vec<_> = (0..30).map(|last| Ok(history.window(last))).collect();
        let json = render_replies(&outcomes);
        let Replies { messages, .. } = serde_json::from_slice(&json).expect("it is right");
        assert_eq!(messages.len(), 30);
    }

    proptest! {
        #[test]
        fn replies_are_read_as_they_were_written(outcomes in outcomes()) {
            let json = render_replies(&outcomes);
            let read = parse_replies(&json, outcomes.len()).expect("it is what was written");
            prop_assert_eq!(shown(&read), shown(&outcomes));
            // The same again, for who would hand them on.
            let read_again = parse_replies(&render_replies(&read), outcomes.len()).expect("it is what was written");
            prop_assert_eq!(shown(&read_again), shown(&outcomes));
        }

        #[test]
        fn another_number_of_replies_is_an_error(outcomes in outcomes(), count in 0..50_usize) {
            let read = parse_replies(&render_replies(&outcomes), count);
            prop_assert_eq!(read.is_ok(), count == outcomes.len());
        }

        #[test]
        fn a_reply_that_shows_what_is_not_there_is_an_error(messages in 0..12_usize, start in 0..14_usize, end in 0..14_usize) {
            let json = json!({
                "messages": vec![1; messages],
                "replies": [{ "shown": { "start": start, "end": end } }],
            });
            let read = parse_replies(json.to_string().as_bytes(), 1);
            let is_there = start < end && end <= messages;
            prop_assert_eq!(read.is_ok(), is_there);
        }

        #[test]
        fn broken_replies_are_an_error_or_as_many_as_were_asked_for(
            outcomes in outcomes(),
            (at, byte, length) in any::<(Index, u8, Index)>(),
        ) {
            let mut json = render_replies(&outcomes);
            prop_assert!(parse_replies(&json[..length.index(json.len())], outcomes.len()).is_err());
            let at = at.index(json.len());
            json[at] = byte;
            if let Ok(read) = parse_replies(&json, outcomes.len()) {
                prop_assert_eq!(read.len(), outcomes.len());
                prop_assert!(shown(&read).iter().flatten().all(|messages| !messages.is_empty()));
            }
        }

        #[test]
        fn a_batch_is_read_as_it_was_written(
            (to, within_ms) in any::<(u128, u32)>(),
            messages in prop::collection::vec(("[^\\s\\p{Cc}]{1,64}", "[^\0]{1,200}", any::<u128>(), any::<bool>()), 0..20),
        ) {
            let posts: Vec<_> = messages
                .into_iter()
                .map(|(user, text, id, by_caller)| Post {
                    message: NewMessage::new(user, text).expect("within the limits"),
                    request_id: if by_caller {
                        RequestId::Caller(Uuid::from_u128(id))
                    } else {
                        RequestId::Server(Uuid::from_u128(id))
                    },
                    deadline: Instant::now(),
                })
                .collect();
            let to = Uuid::from_u128(to);
            let json = Batch::render(to, Duration::from_millis(within_ms.into()), posts.iter());
            let read = Batch::parse(&json).expect("it is what was written");
            prop_assert_eq!((read.to, read.within.as_millis()), (to, within_ms.into()));
            let sent: Vec<_> = posts.into_iter().map(|post| (post.message, post.request_id)).collect();
            prop_assert_eq!(read.messages, sent);
            prop_assert!(Batch::parse(&json[..json.len() - 1]).is_err());
        }

        #[test]
        fn no_input_makes_the_parsers_panic(input in prop::collection::vec(any::<u8>(), 0..200), count in 0..3_usize) {
            let _ = Batch::parse(&input);
            let _ = parse_replies(&input, count);
        }
    }
}
