//! How much a client may send.

use std::time::Instant;

/// Frames a second that are taken from a client for long, and as many may be refused.
const RATE: f64 = 20.0;
/// Frames that are taken at once, and as many may be refused.
const BURST: f64 = 40.0;

/// Limits how many frames are taken: one more every twentieth of a second, however many are refused beside. Who is refused as
/// often again is not heard any more.
pub(super) struct Allowance {
    taken: Bucket,
    refused: Bucket,
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
        let full = Bucket {
            left: BURST,
            seen: now,
        };
        Self {
            taken: full,
            refused: full,
        }
    }

    /// Takes one frame of it.
    pub(super) fn take(&mut self, now: Instant) -> Allowed {
        if self.taken.take(now) {
            Allowed::Yes
        } else if self.refused.take(now) {
            Allowed::No
        } else {
            Allowed::NoMore
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    seen: Instant,
}

impl Bucket {
    /// Takes one frame of it, if there is one left.
    fn take(&mut self, now: Instant) -> bool {
        let since = now.duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.left = (self.left + RATE * since).min(BURST);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
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

    #[test]
    fn twenty_frames_a_second_are_taken_of_those_who_send_more() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let mut frames = Vec::new();
        for frame in 0..1000_u32 {
            let now = start + frame * Duration::from_millis(40);
            frames.push(allowance.take(now));
        }
        let taken = |seconds: &[Allowed]| {
            let of = |allowed| seconds.iter().filter(|&&found| found == allowed).count();
            (of(Allowed::Yes), of(Allowed::NoMore))
        };
        assert!(
            (199..=201).contains(&taken(&frames[750..]).0),
            "in ten seconds at 25 a second"
        );
        assert_eq!(taken(&frames).1, 0);
    }
}
