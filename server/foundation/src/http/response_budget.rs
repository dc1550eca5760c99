//! Pages of the history that clients asked for and have not read yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::telemetry::{Incident, Reporter};

/// Most bytes of them that are held. A page may be a hundred messages long and is quickly asked for; whoever asks for
/// many and reads none would else fill the memory. Replies to messages are fewer, and no longer than ten.
const MOST_BYTES: usize = 64 << 20;

/// Counts their bytes.
#[derive(Default)]
pub(super) struct ResponseBudget {
    bytes: Arc<AtomicUsize>,
    refusals: Reporter,
}

/// A part of the count, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    length: usize,
    bytes: Arc<AtomicUsize>,
}

impl ResponseBudget {
    /// Says whether a page may be made. A few that are made at the same time may exceed the limit together.
    ///
    /// # Errors
    /// The incident, if there is no room.
    pub(super) fn check_room(&self) -> Result<(), Incident> {
        if self.bytes.load(Ordering::Acquire) < MOST_BYTES {
            return Ok(());
        }
        Err(self.refusals.report(|incident| {
            tracing::warn!(instance = %incident, "refusing pages: too many are not read by their clients");
        }))
    }

    pub(super) fn hold(&self, length: usize) -> Held {
        self.bytes.fetch_add(length, Ordering::AcqRel);
        Held {
            length,
            bytes: Arc::clone(&self.bytes),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.length, Ordering::AcqRel);
    }
}
