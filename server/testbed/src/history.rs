//! What a client wrote down of its requests.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How the line begins that ends a whole history.
const END: &str = r#"{"requests":"#;

/// A request of a history, with all its attempts.
#[derive(Debug)]
pub struct Request {
    /// Who sent the message.
    pub user: String,
    /// The text of the message.
    pub text: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When the last attempt ended, by the database's clock.
    pub ended: DateTime<Utc>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered with 200, and the reply shows its own message so.
    Answered(Shown),
    /// Its message is surely not stored.
    Failed,
    /// Its message may be stored.
    Unknown,
}

/// A message as a reply shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct Shown {
    pub seq: u64,
    pub user: String,
    pub user_seq: u64,
    pub text: String,
    pub sent_at: DateTime<Utc>,
}

/// A line of a history. Times are those of a clock of the client's own.
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
    // The quickest request tells best how the client's clock and the database's go together.
    let mut quickest: Option<(i64, TimeDelta)> = None;
    // The first line is the head.
    for line in BufReader::new(File::open(path)?).lines().skip(1) {
        let line = line?;
        if line.starts_with(END) {
            break;
        }
        let line: Line<'_> = serde_json::from_str(&line)?;
        let outcome = match (&*line.outcome, line.reply) {
            ("ok", Some(reply)) => {
                let own = serde_json::from_str::<Vec<Shown>>(reply.get())?.pop();
                let own = own.ok_or("a reply without a message")?;
                let took = line.end_ns - line.start_ns;
                if quickest.is_none_or(|(least, _)| took < least) {
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
    let (_, behind) = quickest.ok_or("no request was answered")?;
    for request in &mut requests {
        request.ended += behind;
    }
    Ok(requests)
}
