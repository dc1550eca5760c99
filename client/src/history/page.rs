//! Keeps the pages of messages that were asked for after everything else: whether the replicas show to readers what
//! they answered to writers.

use serde::{Deserialize, Serialize};

use super::Shown;

/// The most messages of a page, by contract.
pub(crate) const MAX_PAGE_MESSAGES: usize = 100;

/// The answer of a replica to the request for its last messages. Times are nanoseconds of the run's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageReply {
    /// The index of the replica.
    pub(crate) replica: u16,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) answer: PageAnswer,
}

/// The answer to the request for a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PageAnswer {
    /// The replica answered with a 200 of this body, which is JSON by its header.
    Body(String),
    /// There is no such body, for this reason.
    NotJudged(String),
}

/// A page as the judge sees it.
#[derive(Debug)]
pub(crate) struct Page {
    /// The index of the replica.
    pub(crate) replica: u16,
    /// The time before the request for it was sent.
    pub(crate) start_ns: u64,
    /// The time after it was read.
    pub(crate) end_ns: u64,
    /// The messages in the order shown; or why there are none to judge.
    pub(crate) messages: Result<Vec<Shown>, String>,
}
