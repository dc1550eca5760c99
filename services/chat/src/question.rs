//! What a message asks the inner service, and its answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;
use uuid::Uuid;

use crate::message::{Kind, MESSAGER, NewMessage, RoomId, WORKER};
use crate::proof::Proof;

/// The proof that a worker found; `None` if it failed for good.
pub type Reply = Option<Proof>;

/// What is asked for, and how the result comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// The text reversed.
    Reverse,
    /// A proof, which comes back through the messager's queue.
    Queue,
    /// A proof for which the messager waits, as the reply to a call.
    Call,
}

/// What a message asks the inner service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The room of the message.
    pub room: RoomId,
    /// The number of the message in the room.
    pub seq: u64,
    /// The id of the message.
    pub id: Uuid,
    /// The text, without the suffix that names the route.
    pub text: String,
    /// The route.
    pub route: Route,
}

impl Question {
    /// The route that the suffix of a text names, and the text without it.
    #[must_use]
    pub fn parse(text: &str) -> (Route, &str) {
        let suffixes = [("!pow", Route::Queue), ("!rpc", Route::Call)];
        let found = suffixes.into_iter().find_map(|(suffix, route)| {
            let asked = text.strip_suffix(suffix)?;
            (!asked.is_empty()).then_some((route, asked))
        });
        found.unwrap_or((Route::Reverse, text))
    }

    /// The question of a message that was stored with this number.
    #[must_use]
    pub fn from_message(message: &NewMessage, seq: u64) -> Self {
        let (route, text) = Self::parse(&message.text);
        Self {
            room: message.room,
            seq,
            id: message.id,
            text: text.to_owned(),
            route,
        }
    }

    /// The answer: the text reversed.
    #[must_use]
    pub fn answer(&self) -> NewMessage {
        self.message(Kind::Answer, MESSAGER, reversed(&self.text))
    }

    /// The message that shows a proof, or that the search for it failed.
    #[must_use]
    pub fn result_message(&self, reply: &Reply) -> NewMessage {
        let Some(proof) = reply else {
            return self.failure_notice();
        };
        let (username, _) = author_and_label(self.route);
        let json = serde_json::to_string(proof).expect("it has no maps");
        NewMessage {
            proof: Some(json),
            ..self.message(Kind::Proof, username, proof_line(self.route, proof))
        }
    }

    /// The notice that there will be no answer.
    #[must_use]
    pub fn failure_notice(&self) -> NewMessage {
        let (username, _) = author_and_label(self.route);
        let text = "There is no answer to this message: the inner service failed on it.".to_owned();
        self.message(Kind::Notice, username, text)
    }

    fn message(&self, kind: Kind, username: &str, text: String) -> NewMessage {
        NewMessage {
            room: self.room,
            id: self.id,
            kind,
            username: username.to_owned(),
            text,
            proof: None,
        }
    }
}

/// A text reversed, by grapheme clusters.
#[must_use]
pub fn reversed(text: &str) -> String {
    text.graphemes(true).rev().collect()
}

/// The username for a proof, and the label before its text.
fn author_and_label(route: Route) -> (&'static str, &'static str) {
    match route {
        Route::Call => (WORKER, "POW RPC"),
        Route::Queue | Route::Reverse => (MESSAGER, "POW"),
    }
}

/// The text of the message that shows a proof.
#[must_use]
pub fn proof_line(route: Route, proof: &Proof) -> String {
    let (_, label) = author_and_label(route);
    let seconds = Duration::from_millis(proof.elapsed_ms).as_secs_f64();
    let hash = const_hex::encode(proof.hash);
    format!(
        "{label} {} hash:{hash} elapsed time:{seconds:.3}",
        proof.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_asks_for_a_proof_by_its_end_if_it_is_longer_than_that() {
        for (text, route, asked) in [
            ("hi", Route::Reverse, "hi"),
            ("hi!pow", Route::Queue, "hi"),
            ("hi !rpc", Route::Call, "hi "),
            ("!pow", Route::Reverse, "!pow"),
            ("!rpc", Route::Reverse, "!rpc"),
            ("!pow!rpc", Route::Call, "!pow"),
            ("!pow ", Route::Reverse, "!pow "),
            ("hi!POW", Route::Reverse, "hi!POW"),
        ] {
            assert_eq!(Question::parse(text), (route, asked), "{text}");
        }
    }

    #[test]
    fn an_answer_is_reversed_by_what_a_reader_takes_for_one_sign() {
        for (text, reversed) in [
            ("abc", "cba"),
            (
                "привет👨\u{200d}👩\u{200d}👧",
                "👨\u{200d}👩\u{200d}👧тевирп",
            ),
            ("e\u{301}a", "ae\u{301}"),
            ("🇩🇪🇫🇷", "🇫🇷🇩🇪"),
        ] {
            assert_eq!(super::reversed(text), reversed);
        }
    }
}
