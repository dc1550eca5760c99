//! Pages of messages, asked for after everything else: whether the replicas show to readers what they answered to writers.

use serde::{Deserialize, Serialize};

use super::Shown;

/// Most messages of a page, by contract.
pub(crate) const PAGE: usize = 100;

/// What a replica answered to the request for its last messages. Times are nanoseconds of the run's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageReply {
    /// Index of the replica.
    pub(crate) replica: u16,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) answer: PageAnswer,
}

/// The answer to the request for a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PageAnswer {
    /// The body of a 200 with JSON.
    Body(String),
    /// Why there is no such body.
    NotJudged(String),
}

/// A page as the judge sees it.
#[derive(Debug)]
pub(crate) struct Page {
    /// Index of the replica.
    pub(crate) replica: u16,
    /// Before the request for it was sent.
    pub(crate) start_ns: u64,
    /// After it was read.
    pub(crate) end_ns: u64,
    /// Its messages in the order shown; or why there are none to judge.
    pub(crate) messages: Result<Vec<Shown>, String>,
}
