//! What a message asks the inner service, and what that says to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;
use uuid::Uuid;

use crate::message::{Kind, MESSAGER, NewMessage, RoomId, WORKER};
use crate::proof::Proof;

/// What a worker made of a question; `None` if it failed for good.
pub type Reply = Option<Proof>;

/// How the inner service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// For the text reversed.
    Reverse,
    /// For a proof, whose result comes back through the messager's queue.
    Queue,
    /// For a proof that the messager waits for, as the reply to a call.
    Call,
}

/// What a message asks the inner service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Where it was asked.
    pub room: RoomId,
    /// The number of the message in the room.
    pub seq: u64,
    /// The id of the message.
    pub id: Uuid,
    /// The text, without what stands behind it for the route.
    pub text: String,
    /// How it is asked.
    pub route: Route,
}

impl Question {
    /// The route that a text asks for, and what is asked.
    #[must_use]
    pub fn read(text: &str) -> (Route, &str) {
        let ends = [("!pow", Route::Queue), ("!rpc", Route::Call)];
        let found = ends.into_iter().find_map(|(end, route)| {
            let asked = text.strip_suffix(end)?;
            (!asked.is_empty()).then_some((route, asked))
        });
        found.unwrap_or((Route::Reverse, text))
    }

    /// What a message asks that was stored with this number.
    #[must_use]
    pub fn of(message: &NewMessage, seq: u64) -> Self {
        let (route, text) = Self::read(&message.text);
        Self {
            room: message.room,
            seq,
            id: message.id,
            text: text.to_owned(),
            route,
        }
    }

    /// The answer to a question for the text reversed.
    #[must_use]
    pub fn answered(&self) -> NewMessage {
        self.message(Kind::Answer, MESSAGER, reversed(&self.text))
    }

    /// What is shown when the search for a proof has ended.
    #[must_use]
    pub fn ended(&self, reply: &Reply) -> NewMessage {
        let Some(proof) = reply else {
            return self.failed();
        };
        let (username, _) = by(self.route);
        let json = serde_json::to_string(proof).expect("it has no maps");
        NewMessage {
            proof: Some(json),
            ..self.message(Kind::Proof, username, shown(self.route, proof))
        }
    }

    /// What is shown if there is no answer for good.
    #[must_use]
    pub fn failed(&self) -> NewMessage {
        let (username, _) = by(self.route);
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

/// A text reversed, by what a reader takes for one sign.
#[must_use]
pub fn reversed(text: &str) -> String {
    text.graphemes(true).rev().collect()
}

/// Who shows a proof, and what stands before its text.
fn by(route: Route) -> (&'static str, &'static str) {
    match route {
        Route::Call => (WORKER, "POW RPC"),
        Route::Queue | Route::Reverse => (MESSAGER, "POW"),
    }
}

/// The line of a proof.
#[must_use]
pub fn shown(route: Route, proof: &Proof) -> String {
    let (_, before) = by(route);
    let seconds = Duration::from_millis(proof.elapsed_ms).as_secs_f64();
    let hash = const_hex::encode(proof.hash);
    format!(
        "{before} {} hash:{hash} elapsed time:{seconds:.3}",
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
            assert_eq!(Question::read(text), (route, asked), "{text}");
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
