//! Tests properties of the judge on random histories, and its speed.

use std::time::Instant;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::{Verdict, judge};
use crate::history::{
    History, JudgeSettings, Op, Outcome, Phase, SeenMessage, ShownMessage, UserNames, WINDOW,
    digest,
};
use crate::selftest::{FAULTS, Model, Shape, verdict};

prop_compose! {
    fn shapes()(
        coroutines in 1_u32..8,
        requests in 1_u32..40,
        users in 1_usize..6,
        replicas in 1_u16..4,
        before in 0_usize..15,
        unknown in 0_u32..60,
        failed in 0_u32..20,
        others in prop::sample::select(vec![0, 15]),
        window in 1_usize..=10,
        pages in any::<bool>(),
    ) -> Shape {
        Shape { coroutines, requests, users, replicas, before, unknown, failed, others, window, pages }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_valid_history_is_never_accused(shape in shapes(), seed in any::<u64>()) {
        let model = Model::generate(shape, ChaCha8Rng::seed_from_u64(seed));
        let (verdict, found) = verdict(&model);
        prop_assert_eq!(found, vec![]);
        prop_assert_ne!(verdict, Verdict::Invalid);
    }

    #[test]
    fn a_planted_fault_is_found_under_its_own_name_only(
        shape in shapes(),
        seed in any::<u64>(),
        fault in prop::sample::select(&FAULTS[..]),
    ) {
        // Faults are injected well inside the log, where many replies show them.
        let shape = Shape { window: WINDOW, unknown: shape.unknown.min(20), ..shape };
        let mut model = Model::generate(shape, ChaCha8Rng::seed_from_u64(seed));
        prop_assume!((fault.inject)(&mut model).is_some());
        prop_assert_eq!(verdict(&model), (Verdict::Invalid, vec![fault.check]));
    }
}

/// A valid history with `count` requests, as a run records it.
fn valid_history(count: u32) -> History {
    let coroutines = 50;
    let mut names = UserNames::default();
    names.number("alice");
    let ops = (0..count).map(|number| {
        let start_ns =
            u64::from(number / coroutines) * 5_000_000 + u64::from(number % coroutines) * 1000;
        Op {
            intended_ns: start_ns,
            start_ns,
            end_ns: start_ns + 4_000_000,
            seq: u64::from(number) + 1,
            text: digest(&number.to_string()),
            coroutine: number % coroutines,
            request: number / coroutines,
            user: 0,
            outcome: Outcome::Ok,
            replica: u16::try_from(number % 2).unwrap_or(0),
            attempts: 1,
            phase: Phase::Measured,
        }
    });
    let mut history = History {
        settings: JudgeSettings {
            replicas: vec!["a".to_owned(), "b".to_owned()],
            ..JudgeSettings::default()
        },
        window: WINDOW,
        ops: ops.collect(),
        names,
        ..History::default()
    };
    // Within a round, replies may come in any order; here they are reversed.
    for round in history.ops.chunks_mut(coroutines as usize) {
        round.reverse();
    }
    history.seen = (0..count)
        .map(|number| SeenMessage {
            shown: ShownMessage {
                seq: u64::from(number) + 1,
                text: digest(&number.to_string()),
                user_seq: u64::from(number) + 1,
                sent_at_us: i64::from(number),
                user: 0,
            },
            replies: 10,
            witness: number,
            // Its index in the reversed round.
            author: number / coroutines * coroutines + coroutines - 1 - number % coroutines,
        })
        .collect();
    history
}

#[test]
#[ignore = "takes a gibibyte and a release build: cargo test --release -p client -- --ignored --nocapture ten_million"]
fn ten_million_requests_are_judged_in_under_a_minute() {
    let history = valid_history(10_000_000);
    let start = Instant::now();
    let judgement = judge(&history);
    let elapsed = start.elapsed();
    assert_eq!(judgement.verdict, Verdict::Valid);
    assert!(elapsed.as_secs() < 60, "{elapsed:?}");
}

/// A history in which every reply shows only the request's own message, as number 1.
fn all_at_one_number(count: u32) -> History {
    let mut history = valid_history(count);
    for op in &mut history.ops {
        op.seq = 1;
    }
    for seen in &mut history.seen {
        seen.shown.seq = 1;
        seen.replies = 1;
        seen.witness = seen.author;
    }
    history.seen.sort_unstable_by_key(|seen| seen.shown);
    history
}

#[test]
fn a_number_that_all_claim_is_judged_as_quickly_as_many() {
    let start = Instant::now();
    let judgement = judge(&all_at_one_number(200_000));
    let elapsed = start.elapsed();
    assert_eq!(judgement.verdict, Verdict::Invalid);
    // Comparing all pairs would take an hour.
    assert!(elapsed.as_secs() < 60, "{elapsed:?}");
}
