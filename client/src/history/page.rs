//! The pages of messages that were requested after everything else, to check that the replicas show to readers what they
//! answered to writers.

use serde::{Deserialize, Serialize};

use super::ShownMessage;

/// The most messages in a page, by contract.
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
    /// There is no such body. The reason, for the user.
    NotJudged(String),
}

/// A page for the judge.
#[derive(Debug)]
pub(crate) struct Page {
    /// The index of the replica.
    pub(crate) replica: u16,
    /// The time just before its request was sent, in nanoseconds of the run's clock.
    pub(crate) start_ns: u64,
    /// The time just after it was read.
    pub(crate) end_ns: u64,
    /// The messages in the order of the page; or why the page was not judged.
    pub(crate) messages: Result<Vec<ShownMessage>, String>,
}
