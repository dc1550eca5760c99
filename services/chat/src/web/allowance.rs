//! How much a client may send.

use std::time::Instant;

/// Frames a second that are taken from a client for long.
const RATE: f64 = 20.0;
/// Frames that are taken at once.
const BURST: f64 = 40.0;
/// Limits how many frames are taken: one more every twentieth of a second.
pub(super) struct Allowance {
    /// May become negative: what is refused counts too.
    left: f64,
    seen: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Yes,
    No,
    /// It goes on and on.
    NoMore,
}

impl Allowance {
    /// All of it.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            seen: now,
        }
    }

    /// Takes one frame of it.
    pub(super) fn take(&mut self, now: Instant) -> Allowed {
        let since = now.duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.left = (self.left + RATE * since).min(BURST) - 1.0;
        if self.left >= 0.0 {
            Allowed::Yes
        } else if self.left >= -BURST {
            Allowed::No
        } else {
            Allowed::NoMore
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(allowance: &mut Allowance, now: Instant, frames: usize) -> Vec<Allowed> {
        (0..frames).map(|_| allowance.take(now)).collect()
    }

    #[test]
    fn forty_frames_are_taken_at_once_and_as_many_refused_before_the_end() {
        let now = Instant::now();
        let frames = taken(&mut Allowance::new(now), now, 81);
        assert!(frames[..40].iter().all(|&allowed| allowed == Allowed::Yes));
        assert!(frames[40..80].iter().all(|&allowed| allowed == Allowed::No));
        assert_eq!(frames[80], Allowed::NoMore);
    }

    #[test]
    fn twenty_frames_a_second_are_taken_for_ever() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for frame in 0..10_000_u32 {
            let now = start + frame * Duration::from_millis(50);
            assert_eq!(allowance.take(now), Allowed::Yes);
        }
    }
}
