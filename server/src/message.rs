//! Messages: as a client sends them, and as they are stored and shown.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::error::Error;
use foundation::http::{Part, parse_object};

/// Longest user name, in Unicode scalar values. The column `messages.user` is as wide.
pub const USER_LIMIT: usize = 64;
/// Longest text, in Unicode scalar values. The column `messages.text` is as wide.
pub const TEXT_LIMIT: usize = 4096;
/// A reply shows the own message and this many before it.
pub const PREDECESSORS: usize = 9;

/// A message that keeps the limits of the contract, not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    user: String,
    text: String,
}

/// The body of `POST /messages`, before any limit is checked.
#[derive(Deserialize)]
struct Body {
    user: String,
    text: String,
}

impl NewMessage {
    /// Reads a message from JSON.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a JSON object with the two strings, [`Error::OutsideLimit`] if one of them is
    /// too short, too long, or has characters that the contract excludes.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let body: Body = parse_object(json).map_err(|cause| {
            Error::Malformed(format!(
                "Send a JSON object with the strings `user` and `text`: {cause}."
            ))
        })?;
        Self::new(body.user, body.text)
    }

    /// Checks the limits of the contract.
    pub fn new(user: String, text: String) -> Result<Self, Error> {
        check_length("user", &user, USER_LIMIT)?;
        check_length("text", &text, TEXT_LIMIT)?;
        let refused = |fault: &str| Err(Error::OutsideLimit(fault.to_owned()));
        if user.starts_with(char::is_whitespace) || user.ends_with(char::is_whitespace) {
            return refused("`user` begins or ends with white space. Remove it.");
        }
        if user.chars().any(char::is_control) {
            return refused("`user` contains a control character. Remove it.");
        }
        if text.contains('\0') {
            return refused("`text` contains the character NUL (U+0000). Remove it.");
        }
        Ok(Self { user, text })
    }

    /// Who sends it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of user and text together, as they count for the limit of a batch.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.user.len() + self.text.len()
    }
}

fn check_length(field: &str, value: &str, limit: usize) -> Result<(), Error> {
    match value.chars().count() {
        0 => Err(Error::OutsideLimit(format!(
            "`{field}` is empty. It takes 1 to {limit} characters."
        ))),
        length if length > limit => Err(Error::OutsideLimit(format!(
            "`{field}` has {length} characters. It takes 1 to {limit}."
        ))),
        _ => Ok(()),
    }
}

/// What makes two attempts the same request: a client's `Idempotency-Key`, or a UUID that the server draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestId {
    /// Chosen by the client, who may have used it before.
    Client(Uuid),
    /// Drawn by the server for this message, so it is stored nowhere before the first attempt.
    Server(Uuid),
}

impl RequestId {
    /// Draws an id. Version 7 begins with the time, so that the index on it grows at its end.
    #[must_use]
    pub fn draw() -> Self {
        Self::Server(Uuid::now_v7())
    }

    /// The id as it is stored.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Client(uuid) | Self::Server(uuid) => uuid,
        }
    }
}

/// A message on its way into the database.
#[derive(Debug)]
pub struct Submission {
    /// What to store.
    pub message: NewMessage,
    /// Keeps it from being stored twice.
    pub request_id: RequestId,
}

/// A stored message, as every reply shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// Number among all messages, from 1.
    pub seq: u64,
    /// Who sent it.
    pub user: Cow<'a, str>,
    /// Number among the messages of this user, from 1.
    pub user_seq: u64,
    /// What was sent.
    pub text: Cow<'a, str>,
    /// When it was stored, by the clock of the database.
    #[serde(serialize_with = "rfc3339_microseconds")]
    pub sent_at: DateTime<Utc>,
}

fn rfc3339_microseconds<S: Serializer>(
    time: &DateTime<Utc>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Most bytes of JSON that replies share; of a larger buffer each copies its own part.
const MAX_SHARED_BYTES: usize = 256 << 10;

/// Messages rendered to JSON once, for all the replies that show them.
#[derive(Debug)]
pub struct RenderedHistory {
    json: Arc<Vec<u8>>,
    /// Where each message stands in `json`; a comma lies between two.
    places: Vec<Range<usize>>,
}

impl RenderedHistory {
    /// Renders messages, oldest first.
    #[must_use]
    pub fn new<'a>(messages: impl IntoIterator<Item = &'a Message<'a>>) -> Self {
        let mut json = Vec::new();
        let mut places = Vec::new();
        for message in messages {
            if !json.is_empty() {
                json.push(b',');
            }
            let start = json.len();
            serde_json::to_writer(&mut json, message)
                .expect("a message has no map keys and no fallible field");
            places.push(start..json.len());
        }
        Self {
            json: Arc::new(json),
            places,
        }
    }

    /// The message at `index` and up to nine before it, as a reply shows them.
    ///
    /// # Panics
    /// If there is no such message.
    #[must_use]
    pub fn window(&self, index: usize) -> Part {
        let first = &self.places[index.saturating_sub(PREDECESSORS)];
        let range = first.start..self.places[index].end;
        // A client that does not read keeps not much more than its own reply in memory.
        let (buffer, range) = if self.json.len() > MAX_SHARED_BYTES {
            let length = range.len();
            (Arc::new(self.json[range].to_vec()), 0..length)
        } else {
            (Arc::clone(&self.json), range)
        };
        Part {
            before: "[",
            range,
            buffer,
            after: "]",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn message(seq: u64, text: &str) -> Message<'_> {
        let sent_at =
            DateTime::from_timestamp_micros(1_000_000 * seq.cast_signed()).expect("within range");
        Message {
            seq,
            user: "ann".into(),
            user_seq: seq,
            text: text.into(),
            sent_at,
        }
    }

    #[test]
    fn a_date_is_shown_with_six_digits_in_utc() {
        let shown = serde_json::to_string(&message(0, "x")).expect("it is serializable");
        assert_eq!(
            shown,
            r#"{"seq":0,"user":"ann","user_seq":0,"text":"x","sent_at":"1970-01-01T00:00:00.000000Z"}"#
        );
    }

    #[test]
    fn a_window_shows_a_message_and_up_to_nine_before_it() {
        let messages: Vec<_> = (1..=25).map(|seq| message(seq, ",\"")).collect();
        let history = RenderedHistory::new(&messages);
        for last in 0..messages.len() {
            let first = last.saturating_sub(9);
            let alone = serde_json::to_vec(&messages[first..=last]).expect("they are serializable");
            let Part {
                before,
                buffer,
                range,
                after,
            } = history.window(last);
            let messages = &(*buffer).as_ref()[range];
            let shown = [before.as_bytes(), messages, after.as_bytes()];
            assert_eq!(shown.concat(), alone);
        }
    }

    proptest! {
        #[test]
        fn any_message_within_the_limits_is_parsed_to_what_was_sent(user in "[^\\s\\p{Cc}]([^\\p{Cc}]{0,62}[^\\s\\p{Cc}])?", text in "[^\0]{1,4096}") {
            let json = serde_json::json!({ "user": user, "text": text }).to_string();
            let message = NewMessage::parse(json.as_bytes());
            prop_assert_eq!(message, Ok(NewMessage { user, text }));
        }

        #[test]
        fn no_input_makes_the_parser_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = NewMessage::parse(&input);
        }

        /// Input that looks like JSON gets further than random bytes.
        #[test]
        fn accepted_input_has_the_strings_that_another_parser_reads_and_can_be_rendered_and_parsed_again(
            before in "[ \n]{0,2}",
            members in prop::collection::vec(
                (r#""(user|text|user|text|more|\\u0075ser)""#, r#"("([^"\\]|\\[nt"u\\]|\\u[0d]0[04]0){0,6}"|1e999|-0|null|\[\[\]\]|\{\})"#),
                0..4,
            ),
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            let mut json = format!("{before}{{{}}}", members.join(",")).into_bytes();
            if let Some((at, byte)) = broken {
                let at = at.index(json.len());
                json[at] = byte;
            }
            let Ok(message) = NewMessage::parse(&json) else {
                return Ok(());
            };
            let fields: HashMap<String, &RawValue> = serde_json::from_slice(&json).expect("it is an object");
            for (name, value) in [("user", message.user()), ("text", message.text())] {
                let read: String = serde_json::from_str(fields[name].get()).expect("it is a string");
                prop_assert_eq!(read, value);
            }
            let checked = NewMessage::new(message.user.clone(), message.text.clone());
            prop_assert_eq!(checked.as_ref(), Ok(&message));
            let rendered = serde_json::json!({ "user": message.user, "text": message.text }).to_string();
            prop_assert_eq!(NewMessage::parse(rendered.as_bytes()), Ok(message));
        }

        /// Another parser decides whether the input is an object with the two strings.
        #[test]
        fn input_close_to_a_message_is_accepted_only_if_it_is_one(
            json in r#"[{\[]?"user":("[ a\\u0d8-]{0,4}"|1|null),?"text":("[^"]{0,3}"|\{\}|true)[}\]]?"#
        ) {
            let value: Option<serde_json::Value> = serde_json::from_str(&json).ok();
            let string = |field: &str| Some(value.as_ref()?.as_object()?.get(field)?.as_str()?.to_owned());
            let expected = match (string("user"), string("text")) {
                (Some(user), Some(text)) => NewMessage::new(user, text).map_err(|error| error.status().0),
                _ => Err(400),
            };
            prop_assert_eq!(NewMessage::parse(json.as_bytes()).map_err(|error| error.status().0), expected);
        }
    }
}
