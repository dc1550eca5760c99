//! The rate limit of a client.

use std::time::{Duration, Instant};

/// The interval after which one more frame is accepted, and one more may be refused.
const INTERVAL: Duration = Duration::from_millis(50);
/// Frames that are accepted at once. As many may be refused.
const BURST: u32 = 40;

/// Accepts a burst of frames and then one per interval, however many it refuses in between. Refusals have the same limit: a
/// client that exceeds it is to be disconnected.
pub(super) struct RateLimiter {
    /// When a whole burst may be accepted again, and when a whole burst may be refused again.
    accepted_full_at: Instant,
    refused_full_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Accept,
    Refuse,
    /// The client exceeds the limit of refusals.
    Close,
}

impl RateLimiter {
    /// Allows a whole burst at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            accepted_full_at: now,
            refused_full_at: now,
        }
    }

    /// Decides about one frame, and counts it.
    pub(super) fn check(&mut self, now: Instant) -> Decision {
        if take_token(&mut self.accepted_full_at, now) {
            Decision::Accept
        } else if take_token(&mut self.refused_full_at, now) {
            Decision::Refuse
        } else {
            Decision::Close
        }
    }
}

/// Counts one frame, if the limit allows it.
fn take_token(full_at: &mut Instant, now: Instant) -> bool {
    let next_full_at = (*full_at).max(now) + INTERVAL;
    let is_allowed = next_full_at <= now + BURST * INTERVAL;
    if is_allowed {
        *full_at = next_full_at;
    }
    is_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limiter: &mut RateLimiter, now: Instant, frames: usize) -> Vec<Decision> {
        (0..frames).map(|_| limiter.check(now)).collect()
    }

    #[test]
    fn forty_frames_are_taken_at_once_and_as_many_refused_before_the_end() {
        let now = Instant::now();
        let frames = taken(&mut RateLimiter::new(now), now, 81);
        assert!(
            frames[..40]
                .iter()
                .all(|&decision| decision == Decision::Accept)
        );
        assert!(
            frames[40..80]
                .iter()
                .all(|&decision| decision == Decision::Refuse)
        );
        assert_eq!(frames[80], Decision::Close);
    }

    #[test]
    fn twenty_frames_a_second_are_taken_for_ever() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(start);
        for frame in 0..10_000_u32 {
            let now = start + frame * Duration::from_millis(50);
            assert_eq!(limiter.check(now), Decision::Accept);
        }
    }

    #[test]
    fn twenty_frames_a_second_are_taken_of_those_who_send_more() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(start);
        let mut frames = Vec::new();
        for frame in 0..1000_u32 {
            let now = start + frame * Duration::from_millis(40);
            frames.push(limiter.check(now));
        }
        let taken = |seconds: &[Decision]| {
            let of = |decision| seconds.iter().filter(|&&found| found == decision).count();
            (of(Decision::Accept), of(Decision::Close))
        };
        assert!(
            (199..=201).contains(&taken(&frames[750..]).0),
            "in ten seconds at 25 a second"
        );
        assert_eq!(taken(&frames).1, 0);
    }
}
