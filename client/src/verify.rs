//! The judge: pure functions over a recorded [`History`].
//!
//! It sorts by `seq`, never trusts the order of arrival, and never uses a number from a reply as the index of a table. The
//! checks S1 to S5, G1, G2 and R1 together are complete for the answered requests: they prove that the log is a
//! linearizable append that returns its last ten messages. G7 to G9 check that the numbers which no reply shows can belong
//! to requests of unknown outcome. The other checks find faults that the answered requests alone do not reveal.
//!
//! Each fault is reported by one check only. A number that two messages claim ("contested") is reported by G1, G2 or G6. The
//! checks along the log skip it, because they would only report it again.

mod coverage;
mod explain;
mod facts;
mod holes;
mod log;
mod numbering;
#[cfg(test)]
mod oracle;
mod pages;
#[cfg(test)]
mod properties;
mod replies;
mod time;

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::coverage::Coverage;
use self::facts::Facts;
use crate::history::{History, Outcome};

/// The most violations of one check that are kept with an explanation.
const MAX_EXAMPLES: usize = 3;

/// One check of the judge.
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

    /// Returns the code, which is short and never changes, and the name.
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

/// One violation of a promise, with an explanation for the user.
#[derive(Debug, Clone)]
pub(crate) struct Contradiction {
    /// How severe it is, compared with other violations of the same check.
    pub(crate) size: u64,
    /// The explanation, one or more lines.
    pub(crate) explanation: String,
    /// The requests involved, as indices in [`History::ops`].
    pub(crate) ops: Vec<u32>,
}

/// All violations of one check.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckViolations {
    pub(crate) count: u64,
    /// The worst contradictions, at most [`MAX_EXAMPLES`], worst first.
    pub(crate) worst: Vec<Contradiction>,
}

/// The outcome of judging a history.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// The violations by check; a check without any is absent.
    pub(crate) violations: BTreeMap<Check, CheckViolations>,
    pub(crate) coverage: Coverage,
}

/// Judges a history.
pub(crate) fn judge(history: &History) -> Judgement {
    let facts = Facts::new(history);
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

/// Collects the violations of all checks: counts all of them, and explains the worst.
struct Violations<'a> {
    facts: &'a Facts<'a>,
    by_check: BTreeMap<Check, CheckViolations>,
}

impl Violations<'_> {
    /// Adds a violation. `ops` are the requests involved, which the explanation calls A and B. `explain` returns the rest of
    /// the explanation, and is called only if this violation is among the worst so far.
    fn add(&mut self, check: Check, size: u64, ops: &[u32], explain: impl FnOnce() -> String) {
        let CheckViolations { count, worst } = self.by_check.entry(check).or_default();
        *count += 1;
        if worst.len() < MAX_EXAMPLES || worst.last().is_some_and(|last| last.size < size) {
            let position = worst.partition_point(|other| other.size >= size);
            worst.insert(
                position,
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

    /// Adds `more` violations to the count of a check that has violations already, without explanations.
    fn count_more(&mut self, check: Check, more: u64) {
        if let Some(violations) = self.by_check.get_mut(&check) {
            violations.count += more;
        }
    }
}
