//! The greeting of each minute: every process writes it, and it is stored once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use foundation::mysql::Access;

use super::Shared;
use crate::message::{GREETED_ROOM, NewMessage, RoomName};
use crate::store;

const MINUTE: Duration = Duration::from_secs(60);
/// How long storing it may take. After that this process leaves the greeting of this minute to the others.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Greets each minute, until the sender of `stopped` is dropped.
pub(super) fn run(shared: &Arc<Shared>, stopped: &Receiver<()>) {
    loop {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let minute = since.as_secs() / MINUTE.as_secs() + 1;
        let begins = MINUTE * u32::try_from(minute).unwrap_or(u32::MAX);
        let pause = begins.saturating_sub(since);
        if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        greet(shared, minute);
    }
}

fn greet(shared: &Shared, minute: u64) {
    let deadline = Instant::now() + TIMEOUT;
    let name = RoomName::parse(GREETED_ROOM).expect("the constant is a room's name");
    let stored = shared.pool.run(Access::Write, deadline, move |connection| {
        let (room, _) = store::find_or_create_room(connection, &name)?;
        store::store(connection, &[NewMessage::greeting(room, minute)])
    });
    // An error is logged by the pool.
    if stored.is_ok() {
        shared.metrics.greetings.inc();
    }
}
