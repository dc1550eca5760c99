//! Keeps what happened in a run, small enough to keep every request: about a hundred bytes each, whatever the replies were.
//!
//! Neighbouring replies share nine of their ten messages, so each message is kept once ([`Seen`]). A reply of the right
//! shape is then told by its last number and its length; any other shape is kept whole ([`Irregular`]), so that nothing a
//! check needs is lost.

mod file;
mod page;
mod reader;
mod recent;
mod recorder;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use self::file::{Writer, read};
pub(crate) use self::page::{MAX_PAGE_MESSAGES, Page, PageAnswer, PageReply};
pub(crate) use self::recorder::{FinishedRequest, Recorder};

/// The number of messages in a full reply.
pub(crate) const WINDOW: usize = 10;

/// The index that stands for no request, or for no place.
pub(crate) const NONE: u32 = u32::MAX;

/// The settings of a run that its judge needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct JudgeSettings {
    /// The beginning of each text of this run.
    pub(crate) tag: String,
    /// The URLs of the replicas.
    pub(crate) replicas: Vec<String>,
    pub(crate) users: Vec<String>,
    /// Set if others write to the same database.
    pub(crate) shared: bool,
}

/// Everything that a run leaves behind.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) settings: JudgeSettings,
    /// The number of messages in a full reply. Only made-up histories have others than [`WINDOW`]: with short ones, much
    /// goes unseen in few requests.
    pub(crate) window: usize,
    /// Set if the history was not written to its end, so that requests are missing.
    pub(crate) cut: bool,
    /// All requests, in order of completion.
    pub(crate) ops: Vec<Op>,
    /// Each content shown at each `seq`, once each, ordered by these.
    pub(crate) seen: Vec<Seen>,
    pub(crate) irregular: Vec<Irregular>,
    /// The pages that the replicas showed at the end. There is none in a history that was cut off, or is older than
    /// this check.
    pub(crate) pages: Vec<Page>,
    /// How many replies no one can read, those of earlier attempts included.
    pub(crate) unreadable: u64,
    /// The faults of some of these replies: the request, and what is wrong.
    pub(crate) faults: Vec<(u32, String)>,
    pub(crate) names: UserNames,
    /// A part of the texts that this run did not send, by digest.
    pub(crate) foreign: HashMap<u64, String>,
}

/// One request, with all its repetitions. Times are nanoseconds since the run's origin, on one monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    /// The time when the request was due: before its text was made, and in an open loop that is late, before a
    /// coroutine was free.
    pub(crate) intended_ns: u64,
    /// The time before its first byte was written.
    pub(crate) start_ns: u64,
    /// The time after the last byte of its answer was read.
    pub(crate) end_ns: u64,
    /// The number that its message got; 0 if no reply told.
    pub(crate) seq: u64,
    /// The digest of its text.
    pub(crate) text: u64,
    pub(crate) coroutine: u32,
    pub(crate) request: u32,
    /// The index of its user in [`UserNames`].
    pub(crate) user: u32,
    pub(crate) outcome: Outcome,
    /// The index of the replica that was asked last.
    pub(crate) replica: u16,
    /// How many times the request was sent.
    pub(crate) attempts: u8,
    pub(crate) phase: Phase,
}

impl Op {
    /// Returns how long a person waiting for it would have waited, in nanoseconds.
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
    /// Requests before the measured ones, which are judged and not measured.
    WarmUp,
    Measured,
    /// The messages to each replica at the end, so that the last ones before are shown by a later reply.
    Probe,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request was answered: its message is stored.
    Ok,
    /// The request failed: its message is surely not stored.
    Failed(Reason),
    /// The outcome is unknown: its message may be stored, now or later.
    Unknown(Reason),
}

/// The reason why a request was not answered as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    Refused,
    ConnectTimeout,
    /// This process, or this machine, may open no more files, which is the client's fault.
    OpenFiles,
    Unreachable,
    NoAnswer,
    Closed,
    /// A status other than 200, with a problem document as a replica sends it.
    Status(u16),
    /// A status other than 200 without a problem document: something between client and replica answered.
    StatusWithoutProblem(u16),
    Unreadable,
}

impl Reason {
    /// Returns what the reason says about the message. A replica's own 4xx and 503 stored nothing, by contract; any
    /// other status of its own leaves it open. A proxy knows that nothing was stored only where it refused to pass the
    /// request on, which the registered 4xx say; not where it gave up waiting: 408, and numbers of a vendor's own
    /// (nginx's 499, AWS's 460).
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

    /// Returns whether there was no connection to send the request on.
    pub(crate) fn is_unconnected(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::OpenFiles)
    }

    /// Returns whether the request itself was refused, so that it would be refused again.
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
            Self::Status(status) => write!(formatter, "answered {}", named(*status)),
            Self::StatusWithoutProblem(status) => write!(
                formatter,
                "answered {} without a problem document",
                named(*status)
            ),
            Self::Unreadable => {
                formatter.write_str("answered 200 without messages, or not in HTTP")
            }
        }
    }
}

/// The greatest 4xx in the registry of RFC 9110: 451, Unavailable For Legal Reasons.
const LAST_REGISTERED_4XX: u16 = 451;

/// Returns a status with its name.
fn named(status: u16) -> String {
    let known = hyper::StatusCode::from_u16(status).ok();
    let name = known.and_then(|status| status.canonical_reason());
    format!("{status} {}", name.unwrap_or("(no standard status)"))
}

/// A message as a reply shows it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    pub(crate) seq: u64,
    /// The digest of its text.
    pub(crate) text: u64,
    pub(crate) user_seq: u64,
    /// The date of the message, in microseconds since 1970.
    pub(crate) sent_at_us: i64,
    /// The index of its user in [`UserNames`].
    pub(crate) user: u32,
}

/// A message that replies showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) shown: Shown,
    /// How many replies showed the message.
    pub(crate) replies: u32,
    /// The request whose reply showed it first.
    pub(crate) witness: u32,
    /// The first request that was told it as its own message, or [`NONE`].
    pub(crate) author: u32,
}

/// A reply that is not ten, or all, consecutive messages with the request's own one last.
#[derive(Debug, Clone)]
pub(crate) struct Irregular {
    pub(crate) op: u32,
    pub(crate) window: Vec<Shown>,
}

/// The names of users, each with a number.
#[derive(Debug, Default)]
pub(crate) struct UserNames {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl UserNames {
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

/// Returns the digest of a text. Among ten million texts, two have the same one with a chance of three in a million.
pub(crate) fn digest(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// Returns the last place where a reply shows the message of this text.
pub(crate) fn own_position(window: &[Shown], text: u64) -> Option<usize> {
    window.iter().rposition(|shown| shown.text == text)
}

/// Returns whether a reply has the shape that its last number and the length rule describe completely.
pub(crate) fn is_regular(window: &[Shown], op: &Op, full: usize) -> bool {
    let (Some(first), Some(last)) = (window.first(), window.last()) else {
        return false;
    };
    let due = last.seq.min(full as u64);
    last.text == op.text
        && last.user == op.user
        && window.len() as u64 == due
        && first.seq == last.seq + 1 - due
        && window.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1)
}
