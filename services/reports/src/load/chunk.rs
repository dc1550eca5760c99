//! The calls that are stored in one transaction.

use crate::call::{Call, Phone};

/// Calls, in the order of the index, and their counts per duration.
#[derive(Debug)]
pub struct Chunk {
    /// The calls.
    pub calls: Vec<Call>,
    /// Phone, duration in milliseconds and number of calls, in the order of the primary key.
    pub durations: Vec<(Phone, u32, u64)>,
}

impl Chunk {
    /// Makes a chunk from calls in any order.
    #[must_use]
    pub fn new(mut calls: Vec<Call>) -> Self {
        calls.sort_unstable_by_key(|call| (call.phone, call.duration_ms));
        let durations = calls
            .chunk_by(|one, next| (one.phone, one.duration_ms) == (next.phone, next.duration_ms))
            .map(|same| (same[0].phone, same[0].duration_ms, same.len() as u64))
            .collect();
        // Sorted calls let the database go through its index once; unsorted ones cause random access to an index that may not
        // fit in memory.
        calls.sort_unstable_by_key(|call| (call.phone, call.started_at));
        Self { calls, durations }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_call_is_counted_once(calls in prop::collection::vec((0..4_u64, 0..50_u64, 0..4_u32), 0..60)) {
            let call = |(phone, started_at, duration_ms): (u64, u64, u32)| Call {
                phone: Phone::try_from(phone).expect("it is small"),
                started_at,
                duration_ms,
            };
            let calls: Vec<Call> = calls.into_iter().map(call).collect();
            let mut expected = BTreeMap::<_, u64>::new();
            for call in &calls {
                *expected.entry((call.phone, call.duration_ms)).or_default() += 1;
            }
            let chunk = Chunk::new(calls.clone());
            let counted = chunk.durations.iter().map(|&(phone, ms, calls)| ((phone, ms), calls));
            prop_assert!(counted.eq(expected));
            prop_assert_eq!(chunk.calls.len(), calls.len());
            prop_assert!(chunk.calls.is_sorted_by_key(|call| (call.phone, call.started_at)));
        }
    }
}
