//! How much a client may send.

use std::time::{Duration, Instant};

/// The time for which one more frame is taken from a client, and one more may be refused.
const INTERVAL: Duration = Duration::from_millis(50);
/// Frames that are taken at once, and as many may be refused.
const BURST: u32 = 40;

/// Limits how many frames are taken: one more every twentieth of a second, however many are refused beside. Who is refused as
/// often again is not heard any more.
pub(super) struct Allowance {
    /// When all of it is there again, of what may be taken and of what may be refused.
    taken: Instant,
    refused: Instant,
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
            taken: now,
            refused: now,
        }
    }

    /// Takes one frame of it.
    pub(super) fn take(&mut self, now: Instant) -> Allowed {
        if take(&mut self.taken, now) {
            Allowed::Yes
        } else if take(&mut self.refused, now) {
            Allowed::No
        } else {
            Allowed::NoMore
        }
    }
}

/// Takes one frame, if there is one left.
fn take(full_at: &mut Instant, now: Instant) -> bool {
    let later = (*full_at).max(now) + INTERVAL;
    let is_left = later <= now + BURST * INTERVAL;
    if is_left {
        *full_at = later;
    }
    is_left
}

#[cfg(test)]
mod tests {
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
