//! The report: a table and lines of text.

use testbed::Spread;

use crate::load::Rate;
use crate::staleness::Staleness;

const MIN_CACHED_RATIO: f64 = 0.85;
const MIN_UNCACHED_RATIO: f64 = 0.2;
const MIN_WRONG_LOGIN_RATIO: f64 = 0.9;
const MAX_P99_MS: f64 = 25.0;
const MAX_STALENESS_MS: f64 = 100.0;

/// Rounds of reads: of the constant response, with the cache, and without it.
pub(crate) struct ReadRounds {
    pub(crate) connections: usize,
    pub(crate) rounds: Vec<[Rate; 3]>,
}

/// All results.
pub(crate) struct Report {
    pub(crate) reads: Vec<ReadRounds>,
    pub(crate) staleness: Staleness,
    /// Rounds without and with wrong logins.
    pub(crate) with_wrong_logins: Vec<[Rate; 2]>,
}

fn spread(values: impl Iterator<Item = f64>) -> Spread {
    Spread::of(values).expect("there is a round at least")
}

/// The rate of one measurement in each round, as a ratio to the first.
fn ratio<const N: usize>(rounds: &[[Rate; N]], index: usize) -> Spread {
    spread(
        rounds
            .iter()
            .map(|round| round[index].per_second / round[0].per_second),
    )
}

fn rate<const N: usize>(rounds: &[[Rate; N]], index: usize) -> Spread {
    spread(rounds.iter().map(|round| round[index].per_second))
}

fn p99<const N: usize>(rounds: &[[Rate; N]], index: usize) -> f64 {
    spread(rounds.iter().map(|round| round[index].p99_ms)).median
}

fn refused<const N: usize>(rounds: &[[Rate; N]], index: usize) -> usize {
    rounds.iter().map(|round| round[index].refused).sum()
}

impl Report {
    /// Whether all results meet their targets.
    pub(crate) fn meets_targets(&self) -> bool {
        self.reads.iter().all(|ReadRounds { rounds, .. }| {
            ratio(rounds, 1).median >= MIN_CACHED_RATIO
                && ratio(rounds, 2).median >= MIN_UNCACHED_RATIO
                && p99(rounds, 1) < MAX_P99_MS
                && refused(rounds, 1) + refused(rounds, 2) == 0
        }) && self.staleness.worst_ms <= MAX_STALENESS_MS
            && ratio(&self.with_wrong_logins, 1).median >= MIN_WRONG_LOGIN_RATIO
    }

    #[expect(clippy::print_stdout, reason = "the result")]
    pub(crate) fn print(&self) {
        println!(
            "| GET /user/id-1 | answers/s | p99 | of the constant: median, least to most | must be | refused |"
        );
        println!("|---|---|---|---|---|---|");
        for ReadRounds {
            connections,
            rounds,
        } in &self.reads
        {
            let targets = ["", "0.85", "0.2"];
            for (index, what) in ["a constant reply", "cache on", "cache off"]
                .iter()
                .enumerate()
            {
                let (rate, ratio) = (rate(rounds, index), ratio(rounds, index));
                println!(
                    "| {connections} connections, {what} | {:.0} | {:.1} ms | {:.2}, {:.2} to {:.2} | {} | {} |",
                    rate.median,
                    p99(rounds, index),
                    ratio.median,
                    ratio.min,
                    ratio.max,
                    targets[index],
                    refused(rounds, index),
                );
            }
        }
        self.print_staleness_and_logins();
    }

    #[expect(clippy::print_stdout, reason = "the result")]
    fn print_staleness_and_logins(&self) {
        let Staleness {
            changes,
            reads,
            worst_ms,
            worst_own_ms,
        } = self.staleness;
        println!();
        println!(
            "{changes} changes under load, {reads} reads of the other process: behind by {worst_ms:.0} ms at worst \
             (must be 100 at most); the process that made them: {worst_own_ms:.0} ms"
        );
        let rounds = &self.with_wrong_logins;
        let (alone, with_logins, ratio) = (rate(rounds, 0), rate(rounds, 1), ratio(rounds, 1));
        println!(
            "requests with good tokens: {:.0}/s, beside 100 wrong logins {:.0}/s: {:.2}, {:.2} to {:.2} (must be 0.9)",
            alone.median, with_logins.median, ratio.median, ratio.min, ratio.max
        );
        println!("all is reached: {}", self.meets_targets());
    }
}
