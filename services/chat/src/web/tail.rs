//! The thread that finds what is new, and shows it to all who are in the room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use foundation::mysql::{Access, DatabaseAway, DatabaseError};

use super::{Shared, event_loop};
use crate::message::{Frame, RoomId, RoomName};
use crate::store;

/// The pause between looks while there is something new now and then.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// The pause between looks when there was nothing new for a while, or nobody is here.
const QUIET_PAUSE: Duration = Duration::from_millis(200);
/// A while.
const TRAFFIC: Duration = Duration::from_secs(1);
/// To write to many sockets takes long, and costs the same for one message as for several: so the thread rests for as long
/// as this many looks took, that more comes together, and that it takes a part of one core only.
const REST: u32 = 3;
/// No rest is longer: so late may a message be for that.
const MAX_PAUSE: Duration = Duration::from_millis(60);
/// Messages of a room that are read at once.
const PAGE: usize = 500;
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks again and again, soon when this process has `stored` something, and once more when it will store nothing more.
pub(super) fn run(shared: &Arc<Shared>, stored: &Receiver<()>) {
    let mut last_news: Option<Instant> = None;
    loop {
        let has_traffic = last_news.is_some_and(|news| news.elapsed() < TRAFFIC);
        let pause = if has_traffic { BUSY_PAUSE } else { QUIET_PAUSE };
        let is_over = stored.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected);
        let begun = Instant::now();
        // What went wrong is logged, and the next look finds the same.
        let shown = look(shared).unwrap_or(0);
        if is_over {
            return;
        }
        if shown > 0 {
            last_news = Some(Instant::now());
            std::thread::sleep((begun.elapsed() * REST).min(MAX_PAUSE));
        }
    }
}

/// Shows what is new in all rooms. Gives how many messages that were.
fn look(shared: &Arc<Shared>) -> Result<usize, DatabaseAway> {
    let shown = shared.rooms.shown();
    if shown.is_empty() {
        return Ok(0);
    }
    let deadline = Instant::now() + LOOK_TIMEOUT;
    let read = move |connection: &mut mysql::Conn| news(connection, &shown);
    let news = shared.pool.run(Access::Read, deadline, read)?;
    let mut count = 0;
    for (room, from, frames) in news {
        count += frames.len();
        let last = frames.last().map_or(from, |(seq, _)| *seq);
        for socket in shared.rooms.begin_to_show(room, from, last) {
            let (standing, sent) = socket.show(&frames);
            shared.metrics.sent.inc_by(sent as u64);
            event_loop::settle(shared, &socket, standing);
        }
    }
    Ok(count)
}

/// What is new in a room, with the number of the message before.
type News = (RoomId, u64, Vec<Frame>);

fn news(
    connection: &mut mysql::Conn,
    shown: &HashMap<RoomId, (RoomName, u64)>,
) -> Result<Vec<News>, DatabaseError> {
    let mut news = Vec::new();
    for (room, last) in store::last_seqs(connection, shown.keys().copied())? {
        let (name, from) = &shown[&room];
        if last > *from {
            let frames = store::frames(connection, room, name, *from, PAGE, usize::MAX)?;
            news.push((room, *from, frames));
        }
    }
    Ok(news)
}
