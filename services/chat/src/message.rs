//! What clients send, parsed; what is stored, rendered.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tungstenite::Utf8Bytes;
use uuid::Uuid;

/// The room of the minute's greeting.
pub const GREETED_ROOM: &str = "MyChat";
/// Who greets each minute.
pub const CRON: &str = "CronTab";
/// Who answers reversed, and shows proofs that came through its queue.
pub const MESSAGER: &str = "internal_messager";
/// Who shows proofs that were called for.
pub const WORKER: &str = "internal_worker";

/// Characters of a room's name: as many as the column holds, whatever they are.
const MAX_ROOM_NAME: usize = 64;
/// Characters of a user's name: as many as the column holds.
const MAX_USERNAME: usize = 64;
/// Characters of a text: an answer, with what stands around the text, still fits the column of 65,535 bytes.
const MAX_TEXT: usize = 4000;

/// The number of a room in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub u32);

/// The name of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// # Errors
    /// If it has no character, or too many.
    pub fn parse(name: &str) -> Result<Self, Refused> {
        within(name, MAX_ROOM_NAME)
            .then(|| Self(name.into()))
            .ok_or(Refused::RoomName)
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What kind of line a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody wrote it.
    Message,
    /// The inner service's, reversed.
    Answer,
    /// The inner service's, with a proof of work.
    Proof,
    /// The chat's own.
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

/// Why a frame or a handshake was refused, as its client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The room has no name, or a long one.
    #[error("`group_name` takes 1 to {MAX_ROOM_NAME} characters.")]
    RoomName,
    /// The user has no name, or a long one.
    #[error("`username` takes 1 to {MAX_USERNAME} characters, not all of them blank.")]
    Username,
    /// The name belongs to the chat.
    #[error("This `username` is the chat's own. Take another.")]
    Reserved,
    /// The text is blank or long.
    #[error("`message` takes 1 to {MAX_TEXT} characters, not all of them blank.")]
    Text,
    /// The frame is no text.
    #[error("Send text frames: a JSON object with `username` and `message`.")]
    NoText,
    /// The frame is no JSON object with what is needed.
    #[error("The frame is not a JSON object with `username` and `message`: {0}.")]
    Malformed(String),
    /// The id belongs to another message of the room.
    #[error("This `id` was used for another message. Draw a new one for each message.")]
    IdTaken,
    /// More messages than a socket may send.
    #[error(
        "Too many messages: at most 20 a second are taken. This one was not; send it again a little later."
    )]
    TooMany,
    /// Too many messages wait for the database.
    #[error("Too many messages are waiting. This one was not taken; send it again a little later.")]
    Busy,
    /// The server takes no more.
    #[error(
        "The server stops. This message was not taken; send it again when you are connected again."
    )]
    Stopping,
}

impl Refused {
    /// The frame that says so, of the message with this id if it brought one.
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

/// What clients are told of a message that was not taken. The first clients pass it over.
#[derive(Serialize)]
struct RefusedFrame {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// The same message may be taken later.
    again: bool,
}

/// The id that a client gave to what it sent, if that can be found.
#[must_use]
pub fn id_of(frame: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Named {
        id: Uuid,
    }
    let named: Result<Named, _> = serde_json::from_str(frame);
    named.ok().map(|named| named.id)
}

/// What a client sends. Other members, `group_id` of the first clients among them, are passed over.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    id: Option<Uuid>,
}

/// A message that was not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The room that it goes to.
    pub room: RoomId,
    /// Its own id, or that of the message that it answers.
    pub id: Uuid,
    /// What it is.
    pub kind: Kind,
    /// Who says it.
    pub username: String,
    /// What is said.
    pub text: String,
    /// The proof in JSON, of [`Kind::Proof`] only.
    pub proof: Option<String>,
}

impl NewMessage {
    /// Reads what a client sent into a room.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn parse(room: RoomId, frame: &str) -> Result<Self, Refused> {
        // An array would be read as a struct.
        if !frame.trim_start().starts_with('{') {
            return Err(Refused::Malformed("it is no object".to_owned()));
        }
        let sent: Sent<'_> =
            serde_json::from_str(frame).map_err(|error| Refused::Malformed(error.to_string()))?;
        let name = visible(&sent.username);
        if name.is_empty() || !within(&sent.username, MAX_USERNAME) {
            return Err(Refused::Username);
        }
        if [CRON, MESSAGER, WORKER]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(&name))
        {
            return Err(Refused::Reserved);
        }
        if visible(&sent.message).is_empty() || !within(&sent.message, MAX_TEXT) {
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

    /// That a client has left.
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

    /// The greeting of a minute, counted from 1970 on. All processes give it the same id, so it is stored once.
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

/// What a reader sees of a text: neither blanks, nor control characters, nor those that have no width or only change how
/// others are shown.
fn visible(text: &str) -> String {
    let is_hidden = |sign: &char| {
        sign.is_whitespace()
            || sign.is_control()
            || matches!(sign, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().filter(|sign| !is_hidden(sign)).collect()
}

fn within(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count())
}

/// The number of a stored message, and the frame that shows it.
pub type Frame = (u64, Utf8Bytes);

/// What clients are shown of a stored message. The first clients read `username` and `message` alone.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
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
        assert_eq!(id_of(&frame), Some(id));
        for unnamed in ["", "[]", "{}", r#"{"id":7}"#, r#"{"id":null}"#] {
            assert_eq!(id_of(unnamed), None, "{unnamed}");
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
