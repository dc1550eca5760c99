//! The judge: pure functions over a recorded [`History`].
//!
//! It sorts by `seq`, never trusts the order of arrival, and never uses a number from a reply as the index of a table. The
//! checks S1 to S5, G1, G2 and R1 together are complete for the answered requests: they say that the log is a
//! linearizable append that returns its last ten messages. G7 to G9 say that the numbers which no reply shows can be
//! those of requests of unknown outcome. The others find what happened beside the answers.
//!
//! One fault has one name. A number that two messages claim ("contested") is named by G1, G2 or G6, and takes no part in
//! the checks along the log, which would only repeat it.

mod coverage;
mod explain;
mod facts;
mod holes;
mod log;
mod numbering;
#[cfg(test)]
mod oracle;
mod pages;
mod replies;
mod time;
#[cfg(test)]
mod trials;

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::coverage::Coverage;
use self::facts::Facts;
use crate::history::{History, Outcome};

/// The number of examples kept of each check.
const MAX_EXAMPLES: usize = 3;

/// A check of the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Check {
    WellFormed,
    OwnMessage,
    OwnLast,
    Consecutive,
    WindowFull,
    SeqUnique,
    OneContent,
    StoredOnce,
    NothingInvented,
    FailedAbsent,
    NothingLost,
    NoHole,
    UserSeq,
    Counters,
    SentAt,
    RealTime,
    CoroutineOrder,
    Page,
}

impl Check {
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Returns a short and fixed code, for programs, and the name.
    pub(crate) fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::WellFormed => ("S1", "well-formed reply"),
            Self::OwnMessage => ("S2", "own message"),
            Self::OwnLast => ("S3", "own message last"),
            Self::Consecutive => ("S4", "consecutive"),
            Self::WindowFull => ("S5", "window full"),
            Self::SeqUnique => ("G1", "seq unique"),
            Self::OneContent => ("G2", "one content"),
            Self::StoredOnce => ("G3", "stored once"),
            Self::NothingInvented => ("G4", "nothing invented"),
            Self::FailedAbsent => ("G5", "failed is absent"),
            Self::NothingLost => ("G6", "nothing lost"),
            Self::NoHole => ("G7", "no hole"),
            Self::UserSeq => ("G8", "user_seq"),
            Self::Counters => ("G9", "user counters"),
            Self::SentAt => ("G10", "sent_at"),
            Self::RealTime => ("R1", "real-time order"),
            Self::CoroutineOrder => ("R2", "coroutine order"),
            Self::Page => ("P1", "page"),
        }
    }

    /// Returns the promise that holds if the check finds nothing.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::WellFormed => "each 200 is a JSON array of at most ten messages",
            Self::OwnMessage => "each reply holds the message that was sent, under its user",
            Self::OwnLast => "no reply holds a message later than the request's own",
            Self::Consecutive => "no reply skips a message that exists, nor changes the order",
            Self::WindowFull => "each reply holds ten messages, or all there are",
            Self::SeqUnique => "no two answered messages share a seq",
            Self::OneContent => "a message shown twice is shown alike, on every replica",
            Self::StoredOnce => "no message is stored under two numbers",
            Self::NothingInvented => "no message is shown that nobody sent",
            Self::FailedAbsent => "what was refused is shown nowhere",
            Self::NothingLost => "an answered message is in every reply that covers its seq",
            Self::NoHole => "each seq that no reply shows may be a message of unknown outcome",
            Self::UserSeq => "each user's messages are numbered one by one along seq",
            Self::Counters => "no user was counted up more often than messages may be there",
            Self::SentAt => "sent_at never goes back along seq",
            Self::RealTime => "what was answered before another was sent has the smaller seq",
            Self::CoroutineOrder => "one coroutine's messages have growing seq",
            Self::Page => {
                "a page asked for at the end skips nothing, reaches what was answered, and shows it alike"
            }
        }
    }
}

/// The verdict of the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "VerdictWord")]
pub(crate) enum Verdict {
    /// Every promise that could be judged was kept.
    Valid,
    /// A promise is broken.
    Invalid,
    /// Nothing could be judged.
    Unknown,
    /// The run was not judged, because of `--no-check`.
    NotJudged,
}

/// One broken promise, explained so that a person can follow it.
#[derive(Debug, Clone)]
pub(crate) struct Contradiction {
    /// How bad it is, compared with others of its check.
    pub(crate) size: u64,
    /// The explanation, in lines.
    pub(crate) explanation: String,
    /// The requests that it is about, as indices in the history.
    pub(crate) ops: Vec<u32>,
}

/// All violations of one check.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckViolations {
    pub(crate) count: u64,
    /// The worst few contradictions, worst first.
    pub(crate) worst: Vec<Contradiction>,
}

/// The outcome of judging a history.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Only the checks that found something.
    pub(crate) violations: BTreeMap<Check, CheckViolations>,
    pub(crate) coverage: Coverage,
}

/// Judges a history.
pub(crate) fn judge(history: &History) -> Judgement {
    let facts = Facts::gather(history);
    let mut violations = Violations {
        facts: &facts,
        by_check: BTreeMap::new(),
    };
    replies::check(&facts, &mut violations);
    log::check(&facts, &mut violations);
    let counters = numbering::check(&facts, &mut violations);
    time::check(&facts, &mut violations);
    holes::check(&facts, &counters, &mut violations);
    pages::check(&facts, &mut violations);
    let coverage = coverage::measure(&facts);
    let answered = history.ops.iter().any(|op| op.outcome == Outcome::Ok);
    let verdict = match (violations.by_check.is_empty(), answered) {
        (false, _) => Verdict::Invalid,
        (true, true) => Verdict::Valid,
        (true, false) => Verdict::Unknown,
    };
    Judgement {
        verdict,
        violations: violations.by_check,
        coverage,
    }
}

/// The violations of all checks: all are counted, the worst are explained.
struct Violations<'a> {
    facts: &'a Facts<'a>,
    by_check: BTreeMap<Check, CheckViolations>,
}

impl Violations<'_> {
    /// Adds a violation by these requests, which the explanation calls A and B. `explain` returns the rest of it, and is
    /// called only if this violation is among the worst so far.
    fn add(&mut self, check: Check, size: u64, ops: &[u32], explain: impl FnOnce() -> String) {
        let CheckViolations { count, worst } = self.by_check.entry(check).or_default();
        *count += 1;
        if worst.len() < MAX_EXAMPLES || worst.last().is_some_and(|last| last.size < size) {
            let at = worst.partition_point(|other| other.size >= size);
            worst.insert(
                at,
                Contradiction {
                    size,
                    explanation: explain::requests(self.facts, ops) + &explain(),
                    ops: ops.to_vec(),
                },
            );
            worst.truncate(MAX_EXAMPLES);
        }
    }

    fn has(&self, check: Check) -> bool {
        self.by_check.contains_key(&check)
    }

    /// Counts violations that are known by number only.
    fn count_more(&mut self, check: Check, more: u64) {
        if let Some(violations) = self.by_check.get_mut(&check) {
            violations.count += more;
        }
    }
}
