//! One page of a list: at most `limit` items, with ids larger than `after`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;

const DEFAULT_LIMIT: u64 = 50;
/// More items would make responses of several hundred kilobytes.
const MAX_LIMIT: u64 = 100;
/// The largest `int64`, which is the type of an id in the contract.
const MAX_ID: u64 = i64::MAX as u64;

/// The requested part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only items with a larger id.
    pub after: u64,
    /// Most items, 1 to 100.
    pub limit: u64,
}

/// The query parameters of a page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// The most items to show; 50 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) limit: Option<u64>,
    /// Only items with a larger id: `next` of the previous page.
    pub(crate) after: Option<u64>,
}

/// A page of a list, ordered by id.
#[derive(Debug, Serialize, ToSchema)]
pub struct Items<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The value of `after` for the next page; null on the last page.
    #[schema(required = true, minimum = 1)]
    pub next: Option<u64>,
}

impl Page {
    /// Checks the query parameters.
    ///
    /// # Errors
    /// [`Error::OutsideLimit`] if `limit` is not within 1 to 100 (never lowered silently), or `after` is too large for an id.
    pub fn new(limit: Option<u64>, after: Option<u64>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let detail = format!("`limit` is {limit}. It takes 1 to {MAX_LIMIT}.");
            return Err(Error::OutsideLimit(detail));
        }
        let after = after.unwrap_or(0);
        if after > MAX_ID {
            let detail = format!("`after` is {after}. It takes 0 to {MAX_ID}.");
            return Err(Error::OutsideLimit(detail));
        }
        Ok(Self { after, limit })
    }

    /// How many rows to fetch: one more than is shown, to see whether more follow.
    #[must_use]
    pub fn rows_to_fetch(self) -> u64 {
        self.limit + 1
    }

    /// The page, from the rows that were fetched.
    #[must_use]
    pub fn items<T>(self, mut found: Vec<T>, id: impl Fn(&T) -> u64) -> Items<T> {
        let more = found.len() as u64 > self.limit;
        if more {
            found.pop();
        }
        let next = found.last().map(id).filter(|_| more);
        Items { items: found, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_taken_from_1_to_100_and_told_beyond() {
        for (limit, taken) in [(0, false), (1, true), (100, true), (101, false)] {
            assert_eq!(Page::new(Some(limit), None).is_ok(), taken, "{limit}");
        }
        for (after, taken) in [(MAX_ID, true), (MAX_ID + 1, false)] {
            assert_eq!(Page::new(None, Some(after)).is_ok(), taken, "{after}");
        }
    }

    #[test]
    fn a_page_names_the_next_one_only_if_more_was_found() {
        let page = Page { after: 0, limit: 2 };
        let items = |ids: &[u64]| page.items(ids.to_vec(), |&id| id);
        assert_eq!((items(&[]).next, items(&[3]).next), (None, None));
        assert_eq!(
            (items(&[3, 5]).items, items(&[3, 5]).next),
            (vec![3, 5], None)
        );
        let full = items(&[3, 5, 8]);
        assert_eq!((full.items, full.next), (vec![3, 5], Some(5)));
    }
}
