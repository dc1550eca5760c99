//! The record of a run. It keeps every request in about a hundred bytes, however large the replies were.
//!
//! Neighbouring replies share nine of their ten messages, so each message is stored once ([`SeenMessage`]). A regular reply
//! ([`is_regular`]) is then completely described by the number of its last message. Any other reply is stored whole
//! ([`IrregularReply`]), so that the checks have all they need.

mod cache;
mod file;
mod page;
mod reader;
mod recorder;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use self::file::{Writer, read};
pub(crate) use self::page::{MAX_PAGE_MESSAGES, Page, PageAnswer, PageReply};
pub(crate) use self::recorder::{FinishedRequest, Recorder};

/// The number of messages in a full reply.
pub(crate) const WINDOW: usize = 10;

/// The index that means: no request, or no message.
pub(crate) const NONE: u32 = u32::MAX;

/// The settings of a run that the judge needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct JudgeSettings {
    /// The beginning of each text of this run.
    pub(crate) tag: String,
    /// The URLs of the replicas.
    pub(crate) replicas: Vec<String>,
    pub(crate) users: Vec<String>,
    /// Set if others write to the same database during the run.
    pub(crate) shared: bool,
}

/// Everything that a run records for the judge and the figures.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) settings: JudgeSettings,
    /// The number of messages in a full reply. It differs from [`WINDOW`] only in generated histories: if replies are short, many
    /// messages go unseen among few requests.
    pub(crate) window: usize,
    /// Set if the history file was cut off, so that requests are missing.
    pub(crate) is_truncated: bool,
    /// All requests, in order of completion.
    pub(crate) ops: Vec<Op>,
    /// Each distinct message that replies showed, sorted by `seq`. A `seq` has several if replies disagree.
    pub(crate) seen: Vec<SeenMessage>,
    pub(crate) irregular: Vec<IrregularReply>,
    /// The pages that the replicas returned at the end. A history that was cut off, or is older than this check, has none.
    pub(crate) pages: Vec<Page>,
    /// How many replies could not be parsed, including those of earlier attempts.
    pub(crate) unreadable: u64,
    /// For some of these replies, the request and what is wrong.
    pub(crate) faults: Vec<(u32, String)>,
    pub(crate) names: UserNames,
    /// Texts that this run did not send, shortened, by digest; not all of them.
    pub(crate) foreign: HashMap<u64, String>,
}

/// One request, with all its attempts. Times are nanoseconds since the start of the run, on one monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    /// The time when the request was due: before its body was made, and in an open loop that is behind, before a coroutine was
    /// free.
    pub(crate) intended_ns: u64,
    /// The time before its first byte was written.
    pub(crate) start_ns: u64,
    /// The time after the last byte of its answer was read.
    pub(crate) end_ns: u64,
    /// The number of its message; 0 if its reply does not show it.
    pub(crate) seq: u64,
    /// The [`digest`] of its text.
    pub(crate) text: u64,
    pub(crate) coroutine: u32,
    pub(crate) request: u32,
    /// The index of its user in [`UserNames`].
    pub(crate) user: u32,
    pub(crate) outcome: Outcome,
    /// The index of the replica of the last attempt.
    pub(crate) replica: u16,
    /// How many times the request was sent.
    pub(crate) attempts: u8,
    pub(crate) phase: Phase,
}

impl Op {
    /// Returns the time from when the request was due to its end, in nanoseconds.
    pub(crate) fn latency_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.intended_ns)
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Returns whether the request was answered with its own message in the reply.
    pub(crate) fn is_numbered(&self) -> bool {
        self.is_ok() && self.seq != 0
    }
}

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Requests before the measured ones, which are judged but not measured.
    WarmUp,
    Measured,
    /// One message to each replica at the end, so that the last measured messages are shown by a later reply.
    Probe,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request was answered with a 200: its message is stored.
    Ok,
    /// The request failed: its message is certainly not stored.
    Failed(Reason),
    /// The outcome is unknown: its message may be stored, or may still be stored later.
    Unknown(Reason),
}

/// Why a request was not answered with a 200 that can be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    Refused,
    ConnectTimeout,
    /// The limit of open files of this process or machine is reached, so the fault is not the server's.
    OpenFiles,
    Unreachable,
    NoAnswer,
    Closed,
    /// A status other than 200 with a problem document, so it is from the replica.
    Status(u16),
    /// A status other than 200 without a problem document, so it is from a proxy between client and replica.
    StatusWithoutProblem(u16),
    Unreadable,
}

impl Reason {
    /// Returns whether the message is certainly not stored, or its outcome is unknown. A replica that answers 4xx or 503 stored
    /// nothing, by contract; its other statuses leave the outcome unknown. A proxy knows that nothing was stored only if it did
    /// not pass the request on, as the registered 4xx say. It does not know if it stopped waiting: 408, and the vendors' own
    /// statuses (nginx's 499, AWS's 460).
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Refused
            | Self::ConnectTimeout
            | Self::OpenFiles
            | Self::Unreachable
            | Self::Status(400..=499 | 503)
            | Self::StatusWithoutProblem(400..=407 | 409..=LAST_REGISTERED_4XX) => {
                Outcome::Failed(self)
            }
            Self::NoAnswer
            | Self::Closed
            | Self::Status(_)
            | Self::StatusWithoutProblem(_)
            | Self::Unreadable => Outcome::Unknown(self),
        }
    }

    /// Returns whether a connection failed for a reason that can occur at once, without any wait.
    pub(crate) fn can_fail_at_once(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::OpenFiles)
    }

    /// Returns whether the request was rejected with a 4xx and stored nothing, so that a retry would be rejected as well.
    pub(crate) fn is_refusal(self) -> bool {
        let is_4xx = matches!(
            self,
            Self::Status(400..=499) | Self::StatusWithoutProblem(400..=499)
        );
        is_4xx && matches!(self.outcome(), Outcome::Failed(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => formatter.write_str("connection refused"),
            Self::ConnectTimeout => formatter.write_str("no connection in time"),
            Self::OpenFiles => {
                formatter.write_str("not sent: the client may open no more files, see `ulimit -n`")
            }
            Self::Unreachable => formatter.write_str("no connection"),
            Self::NoAnswer => formatter.write_str("no answer in time"),
            Self::Closed => formatter.write_str("connection closed before the answer was complete"),
            Self::Status(status) => write!(formatter, "answered {}", status_name(*status)),
            Self::StatusWithoutProblem(status) => write!(
                formatter,
                "answered {} without a problem document",
                status_name(*status)
            ),
            Self::Unreadable => {
                formatter.write_str("answered 200 without messages, or not in HTTP")
            }
        }
    }
}

/// The greatest 4xx in the registry of RFC 9110: 451, Unavailable For Legal Reasons.
const LAST_REGISTERED_4XX: u16 = 451;

/// Formats a status with its name.
fn status_name(status: u16) -> String {
    let known = hyper::StatusCode::from_u16(status).ok();
    let name = known.and_then(|status| status.canonical_reason());
    format!("{status} {}", name.unwrap_or("(no standard status)"))
}

/// A message as a reply or a page shows it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShownMessage {
    pub(crate) seq: u64,
    /// The [`digest`] of its text.
    pub(crate) text: u64,
    pub(crate) user_seq: u64,
    /// The date of the message, in microseconds since 1970.
    pub(crate) sent_at_us: i64,
    /// The index of its user in [`UserNames`].
    pub(crate) user: u32,
}

/// A distinct message that replies showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenMessage {
    pub(crate) shown: ShownMessage,
    /// How many replies showed the message.
    pub(crate) replies: u32,
    /// The request whose reply was the first to show it.
    pub(crate) witness: u32,
    /// The first request whose reply showed it as the request's own message, or [`NONE`].
    pub(crate) author: u32,
}

/// A reply for which [`is_regular`] does not hold.
#[derive(Debug, Clone)]
pub(crate) struct IrregularReply {
    pub(crate) op: u32,
    pub(crate) window: Vec<ShownMessage>,
}

/// The names of users. Each has a number, which is its index.
#[derive(Debug, Default)]
pub(crate) struct UserNames {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl UserNames {
    /// Returns the number of a user, who is added if the name is new.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", String::as_str)
    }
}

/// Returns a 64-bit hash of a text. The probability of a collision among ten million texts is three in a million.
pub(crate) fn digest(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// Returns the last index at which a reply shows a message with this text.
pub(crate) fn own_position(window: &[ShownMessage], text: u64) -> Option<usize> {
    window.iter().rposition(|shown| shown.text == text)
}

/// Returns whether a reply shows `full` consecutive messages, or all there are, and ends with the request's own one.
pub(crate) fn is_regular(window: &[ShownMessage], op: &Op, full: usize) -> bool {
    let (Some(first), Some(last)) = (window.first(), window.last()) else {
        return false;
    };
    let expected = last.seq.min(full as u64);
    last.text == op.text
        && last.user == op.user
        && window.len() as u64 == expected
        && first.seq == last.seq + 1 - expected
        && window.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1)
}
