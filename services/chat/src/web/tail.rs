//! The thread that polls for new messages, and sends them to all sockets of the room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use foundation::mysql::{Access, DatabaseAway, DatabaseError};

use super::{Shared, event_loop};
use crate::message::{Frame, RoomId, RoomName};
use crate::store;

/// The pause between polls while there is traffic.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// The pause between polls while there is no traffic, or no room has sockets here.
const IDLE_PAUSE: Duration = Duration::from_millis(200);
/// There is traffic until no poll has found new messages for this long.
const BUSY_PERIOD: Duration = Duration::from_secs(1);
/// After a poll that found messages, the thread sleeps for this many times its duration. Writing to many sockets costs the
/// same for one message as for several, so this collects messages, and limits the thread to a part of one core.
const REST_FACTOR: u32 = 3;
/// The longest such sleep, which is how much it may delay a message.
const MAX_REST: Duration = Duration::from_millis(60);
/// Most messages of a room that one poll reads.
const PAGE_SIZE: usize = 500;
/// How long one poll may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// Polls repeatedly: at once when this process has `stored` messages, and a last time when its writer has ended.
pub(super) fn run(shared: &Arc<Shared>, stored: &Receiver<()>) {
    let mut last_news: Option<Instant> = None;
    loop {
        let is_busy = last_news.is_some_and(|news| news.elapsed() < BUSY_PERIOD);
        let pause = if is_busy { BUSY_PAUSE } else { IDLE_PAUSE };
        let is_stopped = stored.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected);
        let begun = Instant::now();
        // The pool logs an error, and the next poll finds the same messages.
        let shown = poll(shared).unwrap_or(0);
        if is_stopped {
            return;
        }
        if shown > 0 {
            last_news = Some(Instant::now());
            std::thread::sleep((begun.elapsed() * REST_FACTOR).min(MAX_REST));
        }
    }
}

/// Sends the new messages of all rooms, and returns how many these are.
fn poll(shared: &Arc<Shared>) -> Result<usize, DatabaseAway> {
    let shown = shared.rooms.last_shown();
    if shown.is_empty() {
        return Ok(0);
    }
    let deadline = Instant::now() + POLL_TIMEOUT;
    let read = move |connection: &mut mysql::Conn| read_new(connection, &shown);
    let news = shared.pool.run(Access::Read, deadline, read)?;
    let mut count = 0;
    for (room, from, frames) in news {
        count += frames.len();
        let last = frames.last().map_or(from, |(seq, _)| *seq);
        for socket in shared.rooms.advance(room, from, last) {
            let (status, sent) = socket.send(&frames);
            shared.metrics.sent.inc_by(sent as u64);
            event_loop::handle_status(shared, &socket, status);
        }
    }
    Ok(count)
}

/// The new messages of a room, with the number of the message before.
type NewFrames = (RoomId, u64, Vec<Frame>);

fn read_new(
    connection: &mut mysql::Conn,
    shown: &HashMap<RoomId, (RoomName, u64)>,
) -> Result<Vec<NewFrames>, DatabaseError> {
    let mut news = Vec::new();
    for (room, last) in store::last_seqs(connection, shown.keys().copied())? {
        let (name, from) = &shown[&room];
        if last > *from {
            let frames = store::read_frames(connection, room, name, *from, PAGE_SIZE, usize::MAX)?;
            news.push((room, *from, frames));
        }
    }
    Ok(news)
}
