//! Generates calls: every phone calls once per round, for 0 to 120 whole seconds; each round begins later.

use std::fmt;
use std::str::FromStr;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::call::{Call, Phone};

/// Most calls to generate: far more than a database on one machine holds, and no sum overflows.
const MAX_CALLS: u64 = 1_000_000_000_000;
/// When the first round begins, in milliseconds since 1970: in May 2023.
const FIRST_ROUND_MS: u64 = 1_684_957_028_364;
/// The time from one round to the next: 100,000 of them take four months.
const ROUND_MS: u64 = 100_000;
/// The longest call, in seconds.
const MAX_SECONDS: u32 = 120;

/// How many calls of how many phones, written `200x100000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    phones: u64,
    calls_each: u64,
}

impl Amount {
    /// The calls of all phones together.
    #[must_use]
    pub(super) fn calls(self) -> u64 {
        self.phones * self.calls_each
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write it as PHONESxCALLS, like 200x100000".to_owned();
        let (phones, calls_each) = text.split_once('x').ok_or_else(form)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_no_number| form());
        let (phones, calls_each) = (number(phones)?, number(calls_each)?);
        match phones.checked_mul(calls_each) {
            Some(1..=MAX_CALLS) => Ok(Self { phones, calls_each }),
            _ => Err(format!("must be 1 to {MAX_CALLS} calls together")),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}x{}", self.phones, self.calls_each)
    }
}

/// Generates the calls; the same seed gives the same calls.
#[derive(Debug)]
pub(super) struct Generator {
    amount: Amount,
    random: ChaCha8Rng,
    generated: u64,
}

impl Generator {
    /// Begins with the call at this position.
    pub(super) fn new(amount: Amount, seed: u64, position: u64) -> Self {
        let mut generator = Self {
            amount,
            random: ChaCha8Rng::seed_from_u64(seed),
            generated: 0,
        };
        while generator.generated < position && generator.next().is_some() {}
        generator
    }

    /// How many calls were generated.
    pub(super) fn generated(&self) -> u64 {
        self.generated
    }
}

impl Iterator for Generator {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        let Amount { phones, .. } = self.amount;
        if self.generated == self.amount.calls() {
            return None;
        }
        let (round, phone) = (self.generated / phones, self.generated % phones);
        self.generated += 1;
        Some(Call {
            phone: Phone::try_from(phone)
                .expect("there are at most as many calls as phones may be"),
            started_at: FIRST_ROUND_MS + round * ROUND_MS + self.random.random_range(0..ROUND_MS),
            duration_ms: self.random.random_range(0..=MAX_SECONDS) * 1_000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_phones_times_calls() {
        let amount = "200x100000".parse::<Amount>().expect("it is one");
        assert_eq!((amount.phones, amount.calls()), (200, 20_000_000));
        for wrong in [
            "",
            "200",
            "x",
            "0x5",
            "5x0",
            "-1x5",
            "1x2x3",
            "1000000x1000001",
        ] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_calls_from_any_position_on() {
        let amount = "7x30".parse().expect("it is one");
        let all: Vec<Call> = Generator::new(amount, 5, 0).collect();
        assert_eq!(all.len(), 210);
        let rest: Vec<Call> = Generator::new(amount, 5, 100).collect();
        assert_eq!(rest, all[100..]);
        assert_ne!(Generator::new(amount, 6, 0).collect::<Vec<_>>(), all);
        let of_one = all.iter().filter(|call| call.phone.number() == 6);
        assert_eq!(of_one.count(), 30);
    }
}
