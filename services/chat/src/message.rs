//! Parses what clients send, and renders what is stored.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tungstenite::Utf8Bytes;
use uuid::Uuid;

/// The room that is greeted each minute.
pub const GREETED_ROOM: &str = "MyChat";
/// The username of the greeting of each minute.
pub const CRON: &str = "CronTab";
/// The username of answers, and of proofs that came through the queue (`!pow`).
pub const MESSAGER: &str = "internal_messager";
/// The username of proofs that were called for (`!rpc`).
pub const WORKER: &str = "internal_worker";

/// Most characters of a room's name: as many as the column holds, at four bytes each.
const MAX_ROOM_NAME: usize = 64;
/// Most characters of a username: as many as the column holds.
const MAX_USERNAME: usize = 64;
/// Most characters of a text: an answer, with what surrounds the text, still fits the column of 65,535 bytes.
const MAX_TEXT: usize = 4000;

/// The id of a room in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub u32);

/// The name of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// # Errors
    /// If it is empty, or too long.
    pub fn parse(name: &str) -> Result<Self, Refused> {
        has_length(name, MAX_ROOM_NAME)
            .then(|| Self(name.into()))
            .ok_or(Refused::RoomName)
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client wrote it.
    Message,
    /// The text reversed, from the inner service.
    Answer,
    /// A proof of work, from the inner service.
    Proof,
    /// From the chat itself.
    Notice,
}

impl Kind {
    /// Its name, for the database and for clients.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Answer => "answer",
            Self::Proof => "proof",
            Self::Notice => "notice",
        }
    }
}

/// Why a frame or a handshake is refused. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name of the room is empty, or too long.
    #[error("`group_name` takes 1 to {MAX_ROOM_NAME} characters.")]
    RoomName,
    /// The username is blank, or too long.
    #[error("`username` takes 1 to {MAX_USERNAME} characters, not all of them blank.")]
    Username,
    /// The username is reserved for the chat.
    #[error("This `username` is the chat's own. Take another.")]
    Reserved,
    /// The text is blank, or too long.
    #[error("`message` takes 1 to {MAX_TEXT} characters, not all of them blank.")]
    Text,
    /// The frame is not a text frame.
    #[error("Send text frames: a JSON object with `username` and `message`.")]
    NoText,
    /// The frame is not a JSON object with the two strings.
    #[error("The frame is not a JSON object with `username` and `message`: {0}.")]
    Malformed(String),
    /// The id belongs to another message of the room.
    #[error("This `id` was used for another message. Draw a new one for each message.")]
    IdTaken,
    /// The socket exceeds its rate limit.
    #[error(
        "Too many messages: at most 20 a second are taken. This one was not; send it again a little later."
    )]
    TooMany,
    /// Too many messages are queued for the database.
    #[error("Too many messages are waiting. This one was not taken; send it again a little later.")]
    Busy,
    /// The server is stopping.
    #[error(
        "The server stops. This message was not taken; send it again when you are connected again."
    )]
    Stopping,
}

impl Refused {
    /// The error frame for a client. `id` is that of the message, if it had one.
    #[must_use]
    pub fn frame(&self, id: Option<Uuid>) -> String {
        let frame = RefusedFrame {
            error: self.to_string(),
            id,
            again: matches!(self, Self::TooMany | Self::Busy | Self::Stopping),
        };
        serde_json::to_string(&frame).expect("it has no maps")
    }
}

/// The error frame, in JSON. The first clients ignore it.
#[derive(Serialize)]
struct RefusedFrame {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// Whether the same message may be accepted later.
    again: bool,
}

/// Parses only the id of a client's frame, if it has a valid one.
#[must_use]
pub fn parse_id(frame: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct WithId {
        id: Uuid,
    }
    let parsed: Result<WithId, _> = serde_json::from_str(frame);
    parsed.ok().map(|frame| frame.id)
}

/// A frame of a client, in JSON. Other members are ignored, like `group_id` of the first clients.
#[derive(Deserialize)]
struct ClientFrame<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    id: Option<Uuid>,
}

/// A message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The room that it goes to.
    pub room: RoomId,
    /// Its own id, or that of the message that it answers.
    pub id: Uuid,
    /// Its kind.
    pub kind: Kind,
    /// Who writes it.
    pub username: String,
    /// The text.
    pub text: String,
    /// The proof in JSON, for [`Kind::Proof`] only.
    pub proof: Option<String>,
}

impl NewMessage {
    /// Parses a frame that a client sent to a room.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn parse(room: RoomId, frame: &str) -> Result<Self, Refused> {
        // Serde would parse an array as the struct.
        if !frame.trim_start().starts_with('{') {
            return Err(Refused::Malformed("it is no object".to_owned()));
        }
        let sent: ClientFrame<'_> =
            serde_json::from_str(frame).map_err(|error| Refused::Malformed(error.to_string()))?;
        let name = visible(&sent.username);
        if name.is_empty() || !has_length(&sent.username, MAX_USERNAME) {
            return Err(Refused::Username);
        }
        if [CRON, MESSAGER, WORKER]
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(&name))
        {
            return Err(Refused::Reserved);
        }
        if visible(&sent.message).is_empty() || !has_length(&sent.message, MAX_TEXT) {
            return Err(Refused::Text);
        }
        Ok(Self {
            room,
            id: sent.id.unwrap_or_else(Uuid::now_v7),
            kind: Kind::Message,
            username: sent.username.into_owned(),
            text: sent.message.into_owned(),
            proof: None,
        })
    }

    /// The notice that a client has left.
    #[must_use]
    pub fn left(room: RoomId, client: u64) -> Self {
        Self {
            room,
            id: Uuid::now_v7(),
            kind: Kind::Notice,
            username: format!("user #{client}"),
            text: "left the chat".to_owned(),
            proof: None,
        }
    }

    /// The greeting of a minute, which is counted from 1970. All processes give it the same id, so it is stored once.
    #[must_use]
    pub fn greeting(room: RoomId, minute: u64) -> Self {
        Self {
            room,
            id: Uuid::from_u64_pair(0, minute),
            kind: Kind::Notice,
            username: CRON.to_owned(),
            text: "Hello world!".to_owned(),
            proof: None,
        }
    }
}

/// The visible characters of a text: without blanks, control characters, and characters that have no width or only change how
/// others are displayed.
fn visible(text: &str) -> String {
    let is_hidden = |character: &char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars()
        .filter(|character| !is_hidden(character))
        .collect()
}

fn has_length(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count())
}

/// The number of a stored message, and the frame that shows it.
pub type Frame = (u64, Utf8Bytes);

/// The frame of a stored message, in JSON. The first clients read only `username` and `message`.
#[derive(Serialize)]
pub(crate) struct MessageFrame<'a> {
    pub(crate) username: String,
    pub(crate) message: String,
    pub(crate) seq: u64,
    pub(crate) group_name: &'a str,
    pub(crate) sent_at: String,
    pub(crate) kind: String,
    pub(crate) id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId(1);

    #[test]
    fn a_frame_is_taken_at_its_limits_and_refused_beyond_them() {
        let frame = |username: &str, message: &str| {
            let frame =
                serde_json::json!({ "username": username, "message": message, "group_id": 7 });
            NewMessage::parse(ROOM, &frame.to_string()).map(|message| message.text)
        };
        let (name, text) = ("ä".repeat(64), "€".repeat(4000));
        assert_eq!(frame(&name, &text), Ok(text.clone()));
        assert_eq!(frame(&format!("{name}x"), "hi"), Err(Refused::Username));
        assert_eq!(frame("u", &format!("{text}x")), Err(Refused::Text));
        assert_eq!(frame(" ", "hi"), Err(Refused::Username));
        assert_eq!(frame("u", " \n\t"), Err(Refused::Text));
        assert_eq!(frame("u", "\u{200b}\u{feff} \u{1}"), Err(Refused::Text));
        assert_eq!(frame("\u{200d}", "hi"), Err(Refused::Username));
        for own in [
            "internal_worker",
            " Internal_Messager\t",
            "Cron\u{200b}Tab\u{1}",
        ] {
            assert_eq!(frame(own, "hi"), Err(Refused::Reserved), "{own:?}");
        }
        for frame in [
            "",
            "[]",
            "[\"u\",\"hi\"]",
            "{}",
            "{\"username\":1,\"message\":\"hi\"}",
            "nul",
        ] {
            let refused = NewMessage::parse(ROOM, frame);
            assert!(matches!(refused, Err(Refused::Malformed(_))), "{frame}");
        }
    }

    #[test]
    fn who_is_refused_is_told_of_which_message_and_whether_to_send_it_again() {
        let id = Uuid::new_v4();
        let frame = serde_json::json!({ "username": 7, "id": id }).to_string();
        assert_eq!(parse_id(&frame), Some(id));
        for unnamed in ["", "[]", "{}", r#"{"id":7}"#, r#"{"id":null}"#] {
            assert_eq!(parse_id(unnamed), None, "{unnamed}");
        }
        for (refused, again) in [
            (Refused::Text, false),
            (Refused::IdTaken, false),
            (Refused::Busy, true),
            (Refused::Stopping, true),
        ] {
            let frame: serde_json::Value =
                serde_json::from_str(&refused.frame(Some(id))).expect("it is JSON");
            assert_eq!(
                (&frame["id"], &frame["again"]),
                (&id.to_string().into(), &again.into())
            );
        }
        assert!(!Refused::NoText.frame(None).contains("\"id\""));
    }

    #[test]
    fn a_frame_may_bring_its_id() {
        let id = Uuid::new_v4();
        let frame = serde_json::json!({ "username": "u", "message": "hi", "id": id }).to_string();
        assert_eq!(
            NewMessage::parse(ROOM, &frame).map(|message| message.id),
            Ok(id)
        );
    }

    #[test]
    fn a_room_s_name_has_1_to_64_characters() {
        for (name, taken) in [
            ("", false),
            ("r", true),
            (&"ä".repeat(64), true),
            (&"r".repeat(65), false),
        ] {
            assert_eq!(RoomName::parse(name).is_ok(), taken, "{name}");
        }
    }
}
