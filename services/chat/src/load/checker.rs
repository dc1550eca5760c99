//! Checks the messages that were received against those that were sent.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::message::Kind;
use crate::proof::Proof;
use crate::question::{self, Question, Route};

/// A message that was received.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) proof: Option<Proof>,
}

/// The violations among the messages that were received.
pub(super) fn check(
    sent: &HashMap<Uuid, String>,
    shown: &[Line],
    answers_expected: bool,
) -> Vec<String> {
    let mut violations = Vec::new();
    let (mut messages, mut answers) = (HashMap::new(), HashMap::new());
    for line in shown {
        match (line.kind, sent.get(&line.id)) {
            (Kind::Notice, _) => {}
            (Kind::Message, text) => {
                if text != Some(&line.message) {
                    violations.push(format!("message {} was never sent so", line.id));
                }
                *messages.entry(line.id).or_insert(0) += 1;
            }
            (Kind::Answer | Kind::Proof, Some(text)) => {
                if !messages.contains_key(&line.id) {
                    violations.push(format!("the answer to {} came before it", line.id));
                }
                if let Err(why) = check_answer(line, text) {
                    violations.push(format!("the answer to {}: {why}", line.id));
                }
                *answers.entry(line.id).or_insert(0) += 1;
            }
            (Kind::Answer | Kind::Proof, None) => {
                violations.push(format!("{} was answered, and never sent", line.id));
            }
        }
    }
    for id in sent.keys() {
        count(&mut violations, "message", *id, &messages);
        if answers_expected {
            count(&mut violations, "the answer to", *id, &answers);
        }
    }
    violations
}

fn count(violations: &mut Vec<String>, what: &str, id: Uuid, counts: &HashMap<Uuid, u32>) {
    match counts.get(&id).copied().unwrap_or(0) {
        1 => {}
        count => violations.push(format!("{what} {id} was shown {count} times")),
    }
}

fn check_answer(line: &Line, text: &str) -> Result<(), String> {
    let (route, asked) = Question::parse(text);
    let expected = match (line.kind, &line.proof, route) {
        (Kind::Answer, None, Route::Reverse) => question::reversed(asked),
        (Kind::Proof, Some(proof), Route::Queue | Route::Call) if proof.text == asked => {
            proof.verify().map_err(|invalid| invalid.to_string())?;
            question::proof_line(route, proof)
        }
        _ => return Err("it is of another kind, or of another text".to_owned()),
    };
    if line.message == expected {
        Ok(())
    } else {
        Err(format!("it is {:?} and not {expected:?}", line.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: Uuid, kind: Kind, message: &str) -> Line {
        Line {
            id,
            kind,
            message: message.to_owned(),
            proof: None,
        }
    }

    #[test]
    fn what_is_lost_doubled_altered_or_made_up_is_found() {
        let [id, unknown] = [Uuid::new_v4(), Uuid::new_v4()];
        let sent = HashMap::from([(id, "abc".to_owned())]);
        let (message, answer) = (
            line(id, Kind::Message, "abc"),
            line(id, Kind::Answer, "cba"),
        );
        let good = [message.clone(), answer.clone()];
        assert_eq!(check(&sent, &good, true), Vec::<String>::new());
        assert_eq!(check(&sent, &good[..1], false), Vec::<String>::new());
        for (what, shown) in [
            ("all is lost", vec![]),
            ("the answer is lost", vec![message.clone()]),
            (
                "the message is doubled",
                vec![message.clone(), message.clone(), answer.clone()],
            ),
            (
                "the answer is doubled",
                vec![message.clone(), answer.clone(), answer.clone()],
            ),
            ("the answer is first", vec![answer.clone(), message.clone()]),
            (
                "the message is altered",
                vec![line(id, Kind::Message, "abd"), answer.clone()],
            ),
            (
                "the answer is altered",
                vec![message.clone(), line(id, Kind::Answer, "abc")],
            ),
            (
                "a proof without one",
                vec![message.clone(), line(id, Kind::Proof, "cba")],
            ),
            (
                "made up",
                vec![
                    message.clone(),
                    answer.clone(),
                    line(unknown, Kind::Answer, "x"),
                ],
            ),
        ] {
            assert!(!check(&sent, &shown, true).is_empty(), "{what}");
        }
    }
}
