//! The way into a room: history first, then what is new, with nothing missed between.
//!
//! The threads here ask the database, and wait for no client: the next part of history is read when the part before has been
//! written, which the event loop sees to, as to all that is written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foundation::http::Upgraded;
use foundation::mysql::Access;
use mysql::Conn;
use rustix::event::epoll::EventFlags;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;

use super::handshake::Wanted;
use super::metrics::Counted;
use super::rooms::Joined;
use super::socket::{Entering, Joining, LATE, NO_ROOM, Socket};
use super::{GOOD_BYE, Shared, event_loop};
use crate::store;

/// How many of the last messages a client gets that does not say what it has seen.
const LAST: u64 = 50;
/// Messages of history that are read at once.
const PAGE: usize = 100;
/// Bytes of history that are sent at once, if it is more than one message.
const PART: usize = 64 << 10;
/// How long history may take. Who needs longer is closed, and may resume with what it has got by then.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nobody entered.
enum NotJoined {
    /// The client was too slow.
    Late,
    /// The database does not answer.
    Away,
    /// The server stops.
    Stopping,
}

/// Sends history, and enters the room.
pub(super) fn run(shared: &Shared, joining: Joining) {
    let (socket, entered) = match joining {
        Joining::First(connection, wanted, counted) => {
            let Some(begun) = begin(shared, connection, wanted, counted) else {
                return;
            };
            begun
        }
        Joining::Next(socket, entering) => {
            let entered = enter(shared, &socket, entering);
            (socket, entered)
        }
    };
    let (code, reason) = match entered {
        Ok(()) => return,
        Err(NotJoined::Late) => (CloseCode::Again, LATE),
        Err(NotJoined::Away) => (CloseCode::Again, AWAY),
        Err(NotJoined::Stopping) => (CloseCode::Away, GOOD_BYE),
    };
    let standing = socket.close(code, reason);
    event_loop::settle(shared, &socket, false, standing);
}

const AWAY: &str = "The database does not answer. Come back a little later.";

/// Finds the room of a connection, and begins with its history. Nothing if the client is gone.
fn begin(
    shared: &Shared,
    connection: Upgraded,
    wanted: Wanted,
    counted: Counted,
) -> Option<(Arc<Socket>, Result<(), NotJoined>)> {
    let deadline = Instant::now() + TIMEOUT;
    let name = wanted.room.clone();
    let find = move |connection: &mut Conn| store::room(connection, &name);
    let found = shared.pool.run(Access::Write, deadline, find);
    let id = shared.next_socket.fetch_add(1, Ordering::Relaxed);
    let room = found.as_ref().map_or(NO_ROOM, |(room, _)| *room);
    let socket = Arc::new(Socket::new(id, wanted.client, room, connection, counted));
    socket.settle().ok()?;
    shared.event_loop.add(&socket).ok()?;
    let entered = found
        .map_err(|_away| NotJoined::Away)
        .and_then(|(_, last)| {
            let after = wanted.after.unwrap_or(last.saturating_sub(LAST));
            let entering = Entering {
                name: wanted.room,
                seen: after.min(last),
                deadline,
            };
            enter(shared, &socket, entering)
        });
    // What came with the handshake tells no event.
    event_loop::attend(shared, &socket, EventFlags::IN);
    Some((socket, entered))
}

/// Sends the next part of history, and enters the room behind the last.
fn enter(shared: &Shared, socket: &Arc<Socket>, mut entering: Entering) -> Result<(), NotJoined> {
    while socket.is_open() {
        let (room, seen, deadline) = (socket.room, entering.seen, entering.deadline);
        let read = move |connection: &mut Conn| store::messages(connection, room, seen, PAGE);
        let page = shared.pool.run(Access::Read, deadline, read);
        // First of all: who stops says good-bye to those that it finds, and this one may have come later.
        if shared.stopping.load(Ordering::Acquire) {
            return Err(NotJoined::Stopping);
        }
        let page = page.map_err(|_away| NotJoined::Away)?;
        if Instant::now() > deadline {
            return Err(NotJoined::Late);
        }
        let mut bytes = 0;
        let mut frames = Vec::new();
        for message in &page {
            let frame = Utf8Bytes::from(message.frame(entering.name.as_str()));
            bytes += frame.len();
            if bytes > PART && !frames.is_empty() {
                break;
            }
            entering.seen = message.seq;
            frames.push(frame);
        }
        let is_last = page.len() < PAGE && frames.len() == page.len();
        let seen = entering.seen;
        if !is_last {
            // Before it is sent: the event loop may be the first to see that it is written.
            *socket.entering.lock() = Some(entering);
            let standing = socket.send_history(frames, seen);
            event_loop::settle(shared, socket, false, standing);
            return Ok(());
        }
        let standing = socket.send_history(frames, seen);
        event_loop::settle(shared, socket, false, standing);
        if shared.rooms.join(socket, entering.name.as_str(), seen) == Joined::Yes {
            // It may be gone already, when it was in no room yet.
            if shared.event_loop.get(socket.id).is_none() {
                shared.rooms.leave(socket);
            }
            return Ok(());
        }
    }
    Ok(())
}
