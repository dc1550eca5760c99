//! The sequence of faults for a seed. Pure: the same seed gives the same faults with the same parameters.

use std::fmt;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use testbed::{Action, Part};

/// No fault takes longer, including the start of a database after a crash, unless the machine is very busy.
pub(crate) const MAX_FAULT_TIME: Duration = Duration::from_secs(9);

/// Number of statements in the longer packet of a transaction.
const STATEMENT_COUNT: usize = 4;
/// About as many bytes as a connection carries in a second.
const MAX_BYTES: u32 = 200_000;

/// A fault with its parameters.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    ReplicaKilled { replica: usize, away: Duration },
    RollingRestart,
    ReplicaFrozen { replica: usize, time: Duration },
    ReplicaFrozenWithLock { replica: usize, time: Duration },
    DatabaseKilled { away: Duration },
    DatabaseFrozen { time: Duration },
    DatabaseReadOnly { time: Duration },
    ConnectionsKilled { times: u32, every: Duration },
    LockHeld { time: Duration },
    Deadlocks { times: u32 },
    TransactionsCut { cuts: Vec<(usize, Part, Action)> },
    CutAtRandomBytes { cuts: Vec<(usize, u32)> },
}

/// Number of variants of [`Fault`].
const KIND_COUNT: usize = 12;

impl Fault {
    /// Its name without parameters, as in the table of results.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::ReplicaKilled { .. } => "replica killed (-9) and started again",
            Self::RollingRestart => "all replicas restarted, one after the other",
            Self::ReplicaFrozen { .. } => "replica frozen and thawed",
            Self::ReplicaFrozenWithLock { .. } => "replica frozen while it holds the lock",
            Self::DatabaseKilled { .. } => "database killed (-9) and started again",
            Self::DatabaseFrozen { .. } => "database frozen and thawed",
            Self::DatabaseReadOnly { .. } => "database read-only and back",
            Self::ConnectionsKilled { .. } => "connections killed by the database",
            Self::LockHeld { .. } => "lock held by a foreign session",
            Self::Deadlocks { .. } => "deadlock with a foreign session",
            Self::TransactionsCut { .. } => "connection cut within a transaction",
            Self::CutAtRandomBytes { .. } => "connection cut at a random byte",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.kind())?;
        match self {
            Self::ReplicaKilled { replica, away } => {
                write!(to, ": replica {replica}, away for {away:?}")
            }
            Self::RollingRestart => Ok(()),
            Self::ReplicaFrozen { replica, time }
            | Self::ReplicaFrozenWithLock { replica, time } => {
                write!(to, ": replica {replica}, {time:?}")
            }
            Self::DatabaseKilled { away } => write!(to, ": away for {away:?}"),
            Self::DatabaseFrozen { time }
            | Self::DatabaseReadOnly { time }
            | Self::LockHeld { time } => {
                write!(to, ": {time:?}")
            }
            Self::ConnectionsKilled { times, every } => {
                write!(to, ": {times} times, every {every:?}")
            }
            Self::Deadlocks { times } => write!(to, ": {times} times"),
            Self::TransactionsCut { cuts } => {
                cuts.iter().try_for_each(|(replica, part, action)| {
                    write!(to, "; replica {replica}, {part:?}: {action}")
                })
            }
            Self::CutAtRandomBytes { cuts } => cuts
                .iter()
                .try_for_each(|(replica, bytes)| write!(to, "; replica {replica} after {bytes}")),
        }
    }
}

/// A fault, and the pause before it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
}

/// An endless sequence: each kind once in random order, then each once in another random order, and so on.
pub(crate) struct Plan {
    random: ChaCha8Rng,
    replicas: usize,
    kinds: Vec<usize>,
}

impl Plan {
    pub(crate) fn new(seed: u64, replicas: usize) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            replicas,
            kinds: Vec::new(),
        }
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from..=to))
    }

    fn replica(&mut self) -> usize {
        self.random.random_range(0..self.replicas)
    }

    fn fault(&mut self, kind: usize) -> Fault {
        match kind {
            0 => Fault::ReplicaKilled {
                replica: self.replica(),
                away: self.milliseconds(0, 1500),
            },
            1 => Fault::RollingRestart,
            2 => Fault::ReplicaFrozen {
                replica: self.replica(),
                time: self.milliseconds(200, 5500),
            },
            3 => Fault::ReplicaFrozenWithLock {
                replica: self.replica(),
                time: self.milliseconds(1000, 6000),
            },
            4 => Fault::DatabaseKilled {
                away: self.milliseconds(0, 1500),
            },
            5 => Fault::DatabaseFrozen {
                time: self.milliseconds(500, 5000),
            },
            6 => Fault::DatabaseReadOnly {
                time: self.milliseconds(300, 3000),
            },
            7 => Fault::ConnectionsKilled {
                times: self.random.random_range(1..=20),
                every: self.milliseconds(1, 150),
            },
            // Around the lock wait timeout of the writers, which is 4 s.
            8 => Fault::LockHeld {
                time: self.milliseconds(1000, 6000),
            },
            9 => Fault::Deadlocks {
                times: self.random.random_range(1..=10),
            },
            10 => Fault::TransactionsCut {
                cuts: (0..8).map(|_| self.cut()).collect(),
            },
            _ => Fault::CutAtRandomBytes {
                cuts: (0..8)
                    .map(|_| (self.replica(), self.random.random_range(0..MAX_BYTES)))
                    .collect(),
            },
        }
    }

    fn cut(&mut self) -> (usize, Part, Action) {
        let replica = self.replica();
        let part = [Part::Lock, Part::Store][self.random.random_range(0..2)];
        let action = match self.random.random_range(0..4 + STATEMENT_COUNT) {
            0 => Action::CutPacket,
            1 => Action::CutReply,
            // The whole packet runs and its reply is lost. Twice as often, because it is the worst case.
            2 => Action::CutAfter(usize::MAX),
            more => Action::CutAfter(more - 3),
        };
        (replica, part, action)
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.kinds.is_empty() {
            self.kinds = (0..KIND_COUNT).collect();
            self.kinds.shuffle(&mut self.random);
        }
        let kind = self.kinds.pop()?;
        let pause = self.milliseconds(300, 1500);
        Some(Step {
            pause,
            fault: self.fault(kind),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, count: usize) -> Vec<String> {
        let steps = Plan::new(seed, 2).take(count);
        steps
            .map(|step| format!("{:?} {}", step.pause, step.fault))
            .collect()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(first(7, 100), first(7, 100));
        assert_ne!(first(7, 100), first(8, 100));
    }

    #[test]
    fn each_kind_comes_once_before_any_comes_again() {
        let mut kinds: Vec<_> = Plan::new(7, 2)
            .take(KIND_COUNT)
            .map(|step| step.fault.kind())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), KIND_COUNT);
    }
}
