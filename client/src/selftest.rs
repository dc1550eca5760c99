//! Tests the judge. Valid histories are made up, one fault of each kind is planted, and each must be found under its
//! own name and no other. A check that can never fire would otherwise look like a promise kept.

mod faults;
mod model;

use std::fmt::Write;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

pub(crate) use self::faults::{FAULTS, Fault};
#[cfg(test)]
pub(crate) use self::model::{Message, Request};
pub(crate) use self::model::{Model, Shape};
use crate::verify::{self, Check, Verdict};

/// The outcome of the self-test: its text, and whether the judge passed.
#[derive(Debug)]
pub(crate) struct SelftestOutcome {
    pub(crate) text: String,
    pub(crate) passed: bool,
}

/// Plants every fault in `rounds` histories each.
pub(crate) fn run(seed: u64, rounds: u32) -> SelftestOutcome {
    let mut text = String::new();
    let mut passed = true;
    let mut report = |line: String, right: bool| {
        passed &= right;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  {line}", if right { "ok  " } else { "FAIL" });
    };
    let valid = (0..rounds)
        .filter(|round| verdict(&plain(seed, *round)) == (Verdict::Valid, Vec::new()))
        .count();
    report(
        format!("{valid} of {rounds} valid histories are judged valid"),
        valid == rounds as usize,
    );
    for fault in &FAULTS {
        let due = (Verdict::Invalid, vec![fault.check]);
        let found: Vec<_> = (0..rounds)
            .map(|round| planted(fault, seed, round).map(|model| verdict(&model)))
            .collect();
        let right = found
            .iter()
            .filter(|found| found.as_ref() == Some(&due))
            .count();
        let ((code, name), meaning) = (fault.check.label(), fault.meaning);
        let mut line = format!("{code:>3} {name:18} found in {right} of {rounds}: {meaning}");
        if let Some(wrong) = found.iter().find(|found| found.as_ref() != Some(&due)) {
            let _ = write!(line, "; once it was {wrong:?}");
        }
        report(line, right == rounds as usize);
    }
    let unplanted: Vec<_> = Check::all()
        .iter()
        .filter(|check| FAULTS.iter().all(|fault| fault.check != **check))
        .collect();
    report(
        format!(
            "{} checks, {} of them without a planted fault",
            Check::all().len(),
            unplanted.len()
        ),
        unplanted.is_empty(),
    );
    SelftestOutcome { text, passed }
}

/// Makes up a valid history of a common shape.
fn plain(seed: u64, round: u32) -> Model {
    Model::generate(Shape::default(), random(seed, round))
}

/// Makes up a history with this fault in it. Some histories have no place for some faults: then another one is tried.
fn planted(fault: &Fault, seed: u64, round: u32) -> Option<Model> {
    (0..MAX_ATTEMPTS).find_map(|attempt| {
        let mut model = plain(seed, round + (attempt << 20));
        (fault.plant)(&mut model).map(|()| model)
    })
}

const MAX_ATTEMPTS: u32 = 100;

fn random(seed: u64, stream: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(stream));
    random
}

/// Returns the verdict on a made-up history, and the checks that found something.
pub(crate) fn verdict(model: &Model) -> (Verdict, Vec<Check>) {
    let judgement = verify::judge(&model.history());
    let found = judgement.violations.into_keys().collect();
    (judgement.verdict, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_passes_its_self_test() {
        let tested = run(1, 20);
        assert!(tested.passed, "{}", tested.text);
    }
}
