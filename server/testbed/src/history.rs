//! Reads the history file that a client wrote of its requests.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The start of the line that ends a complete history.
const END_MARK: &str = r#"{"requests":"#;

/// A request of a history, with all its attempts.
#[derive(Debug)]
pub struct Request {
    /// The sender of the message.
    pub user: String,
    /// The text of the message.
    pub text: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When the last attempt ended, on the database's clock.
    pub ended: DateTime<Utc>,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered with 200; this is its own message in the reply.
    Answered(Message),
    /// Its message is certainly not stored.
    Failed,
    /// Its message may be stored.
    Unknown,
}

/// A message as a reply shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct Message {
    pub seq: u64,
    pub user: String,
    pub user_seq: u64,
    pub text: String,
    pub sent_at: DateTime<Utc>,
}

/// A line of a history. Times are on the client's own clock.
#[derive(Deserialize)]
struct Line<'a> {
    user: String,
    text: String,
    attempts: u32,
    start_ns: i64,
    end_ns: i64,
    outcome: String,
    #[serde(borrow)]
    reply: Option<&'a RawValue>,
}

/// Reads the requests of a history.
///
/// # Errors
/// If the file cannot be read, is no history, or has no answered request.
pub fn read_history(path: &Path) -> Result<Vec<Request>, Box<dyn Error>> {
    let mut requests = Vec::new();
    // The quickest request gives the best estimate of the offset between the client's clock and the database's.
    let mut quickest: Option<(i64, TimeDelta)> = None;
    // The first line is the header.
    for line in BufReader::new(File::open(path)?).lines().skip(1) {
        let line = line?;
        if line.starts_with(END_MARK) {
            break;
        }
        let line: Line<'_> = serde_json::from_str(&line)?;
        let outcome = match (&*line.outcome, line.reply) {
            ("ok", Some(reply)) => {
                let own = serde_json::from_str::<Vec<Message>>(reply.get())?.pop();
                let own = own.ok_or("a reply without a message")?;
                let took = line.end_ns - line.start_ns;
                if quickest.is_none_or(|(shortest, _)| took < shortest) {
                    let middle = DateTime::from_timestamp_nanos(line.start_ns + took / 2);
                    quickest = Some((took, own.sent_at - middle));
                }
                Outcome::Answered(own)
            }
            ("failed", _) => Outcome::Failed,
            ("unknown", _) => Outcome::Unknown,
            (other, _) => return Err(format!("{other:?}, or answered without a reply").into()),
        };
        requests.push(Request {
            user: line.user,
            text: line.text,
            attempts: line.attempts,
            ended: DateTime::from_timestamp_nanos(line.end_ns),
            outcome,
        });
    }
    let (_, clock_offset) = quickest.ok_or("no request was answered")?;
    for request in &mut requests {
        request.ended += clock_offset;
    }
    Ok(requests)
}
