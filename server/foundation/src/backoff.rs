//! Pauses between attempts: exponential backoff with jitter.

use std::time::Duration;

/// Pauses that double from the first up to the longest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The longest that the first pause may take.
    pub first: Duration,
    /// The longest that any pause may take.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after so many earlier ones: between half and all of its length, at random, so that replicas that fail together
    /// do not retry together.
    #[must_use]
    pub fn pause(&self, pauses_before: u32) -> Duration {
        (self.first * 2_u32.saturating_pow(pauses_before.min(16)))
            .min(self.longest)
            .mul_f64(rand::random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        };
        for before in 0..100 {
            let pauses: Vec<_> = (0..32).map(|_| backoff.pause(before)).collect();
            assert!(
                pauses
                    .iter()
                    .all(|&pause| pause >= backoff.first / 2 && pause <= backoff.longest)
            );
            assert!(
                pauses.iter().any(|pause| pause != &pauses[0]),
                "replicas would come back together"
            );
        }
        assert!(backoff.pause(99) >= backoff.longest / 2);
    }
}
