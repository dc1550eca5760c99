//! Tests the judge by fault injection. It generates valid histories and injects one fault into each; exactly the check for this
//! fault must report it. Without this test, a check that never finds anything would look like a promise that is kept.

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

/// Injects every fault into `rounds` histories each.
pub(crate) fn run(seed: u64, rounds: u32) -> SelftestOutcome {
    let mut text = String::new();
    let mut passed = true;
    let mut report = |line: String, ok: bool| {
        passed &= ok;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  {line}", if ok { "ok  " } else { "FAIL" });
    };
    let valid = (0..rounds)
        .filter(|round| verdict(&valid_history(seed, *round)) == (Verdict::Valid, Vec::new()))
        .count();
    report(
        format!("{valid} of {rounds} valid histories are judged valid"),
        valid == rounds as usize,
    );
    for fault in &FAULTS {
        let expected = (Verdict::Invalid, vec![fault.check]);
        let found: Vec<_> = (0..rounds)
            .map(|round| faulty_history(fault, seed, round).map(|model| verdict(&model)))
            .collect();
        let correct = found
            .iter()
            .filter(|found| found.as_ref() == Some(&expected))
            .count();
        let ((code, name), meaning) = (fault.check.label(), fault.meaning);
        let mut line = format!("{code:>3} {name:18} found in {correct} of {rounds}: {meaning}");
        if let Some(wrong) = found.iter().find(|found| found.as_ref() != Some(&expected)) {
            let _ = write!(line, "; once it was {wrong:?}");
        }
        report(line, correct == rounds as usize);
    }
    let untested: Vec<_> = Check::all()
        .iter()
        .filter(|check| FAULTS.iter().all(|fault| fault.check != **check))
        .collect();
    report(
        format!(
            "{} checks, {} of them without a planted fault",
            Check::all().len(),
            untested.len()
        ),
        untested.is_empty(),
    );
    SelftestOutcome { text, passed }
}

/// Generates a valid history of the default shape.
fn valid_history(seed: u64, round: u32) -> Model {
    Model::generate(Shape::default(), random(seed, round))
}

/// Generates a history with this fault. If a history has no place for the fault, tries others; none if all have no place.
fn faulty_history(fault: &Fault, seed: u64, round: u32) -> Option<Model> {
    (0..MAX_ATTEMPTS).find_map(|attempt| {
        let mut model = valid_history(seed, round + (attempt << 20));
        (fault.inject)(&mut model).map(|()| model)
    })
}

/// The most histories that are tried for a fault.
const MAX_ATTEMPTS: u32 = 100;

fn random(seed: u64, stream: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(stream));
    random
}

/// Returns the verdict on a generated history, and the checks that found a violation.
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
