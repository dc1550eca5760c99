//! Checks the promises by replies and times alone.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::Answer;

/// A request and its reply, with the times of both.
#[derive(Debug)]
pub struct Exchange {
    /// The text of the message.
    pub text: String,
    /// The user of the message.
    pub user: String,
    /// When it was sent.
    pub sent: Instant,
    /// When the reply was received.
    pub answered: Instant,
    /// The reply.
    pub reply: Answer,
}

/// Fails if the replies show that one of the promises 1 to 5 and 7 is broken.
pub fn assert_promises(exchanges: &[Exchange]) {
    let mut shown: BTreeMap<u64, Value> = BTreeMap::new();
    let mut own: Vec<(u64, &Exchange)> = Vec::new();
    for exchange in exchanges {
        let messages = exchange.reply.messages();
        let seqs: Vec<u64> = messages
            .iter()
            .filter_map(|message| message["seq"].as_u64())
            .collect();
        let last = *seqs.last().expect("a reply is not empty");
        let first = last.saturating_sub(9).max(1);
        assert!(
            seqs.iter().copied().eq(first..=last),
            "a reply skips or lacks messages: {seqs:?}"
        );
        let message = messages.last().expect("a reply is not empty");
        assert_eq!(
            message["text"], exchange.text,
            "the own message is not the last"
        );
        assert_eq!(message["user"], exchange.user);
        own.push((last, exchange));
        for message in messages {
            let seq = message["seq"].as_u64().expect("seq is a number");
            let before = shown.entry(seq).or_insert_with(|| message.clone());
            assert_eq!(*before, message, "a message is shown in two ways");
        }
    }
    own.sort_by_key(|(seq, _)| *seq);
    assert!(
        own.iter()
            .map(|(seq, _)| *seq)
            .eq(1..=exchanges.len() as u64),
        "seq has a hole or a duplicate"
    );

    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last_date = "";
    for message in shown.values() {
        let count = counts
            .entry(message["user"].as_str().expect("a string"))
            .or_default();
        *count += 1;
        assert_eq!(
            message["user_seq"], *count,
            "user_seq has a hole or a duplicate"
        );
        let date = message["sent_at"].as_str().expect("a string");
        assert!(date >= last_date, "sent_at goes back");
        last_date = date;
    }

    let mut earliest_answer: Option<Instant> = None;
    for (seq, exchange) in own.iter().rev() {
        assert!(
            earliest_answer.is_none_or(|answered| exchange.sent <= answered),
            "a request was sent after a later number was answered, and got {seq}"
        );
        earliest_answer = Some(earliest_answer.map_or(exchange.answered, |answered| {
            answered.min(exchange.answered)
        }));
    }
}
