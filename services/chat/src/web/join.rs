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
use tungstenite::protocol::frame::coding::CloseCode;

use super::handshake::Wanted;
use super::metrics::Counted;
use super::rooms::Joined;
use super::socket::{Joining, LATE, NO_ROOM, Reason, Socket};
use super::{GOOD_BYE, Shared, event_loop};
use crate::store;

/// How many of the last messages a client gets that does not say what it has seen.
const LAST: u64 = 50;
/// Messages of history that are read at once.
const PAGE: usize = 100;
/// Bytes of history after which the next message waits until these are written.
const PART: usize = 64 << 10;
/// How long history may take. Who needs longer is closed, and may resume with what it has got by then.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The database does not answer.
const AWAY: Reason = (
    CloseCode::Again,
    "The database does not answer. Come back a little later.",
);

/// Sends history, and enters the room.
pub(super) fn run(shared: &Arc<Shared>, joining: Joining) {
    let (socket, deadline) = match joining {
        Joining::First(connection, wanted, counted) => {
            match begin(shared, connection, wanted, counted) {
                Some(begun) => begun,
                None => return,
            }
        }
        Joining::Next(socket, deadline) => (socket, deadline),
    };
    if let Err(reason) = enter(shared, &socket, deadline) {
        event_loop::settle(shared, &socket, socket.close(reason));
    }
}

/// Finds the room of a connection. Nothing if the client is gone.
fn begin(
    shared: &Arc<Shared>,
    connection: Upgraded,
    wanted: Wanted,
    counted: Counted,
) -> Option<(Arc<Socket>, Instant)> {
    let deadline = Instant::now() + TIMEOUT;
    let name = wanted.room.clone();
    let find = move |connection: &mut Conn| store::room(connection, &name);
    let found = shared.pool.run(Access::Write, deadline, find);
    let (room, last) = found.unwrap_or((NO_ROOM, 0));
    let id = shared.next_socket.fetch_add(1, Ordering::Relaxed);
    let seen = wanted.after.unwrap_or(last.saturating_sub(LAST)).min(last);
    let socket = Arc::new(Socket::new(id, wanted, room, seen, connection, counted).ok()?);
    shared.event_loop.add(&socket).ok()?;
    // What came with the handshake tells no event.
    event_loop::attend(shared, &socket);
    Some((socket, deadline))
}

/// Sends the next part of history, and enters the room behind the last.
fn enter(shared: &Arc<Shared>, socket: &Arc<Socket>, deadline: Instant) -> Result<(), Reason> {
    let room = socket.room;
    while let Some(seen) = socket.seen_if_open() {
        if room == NO_ROOM {
            return Err(AWAY);
        }
        let name = socket.wanted.room.clone();
        let read =
            move |connection: &mut Conn| store::frames(connection, room, &name, seen, PAGE, PART);
        let page = shared.pool.run(Access::Read, deadline, read);
        // First of all: who stops says good-bye to those that it finds, and this one may have come later.
        if shared.stopping.load(Ordering::Acquire) {
            return Err(GOOD_BYE);
        }
        let page = page.map_err(|_away| AWAY)?;
        if Instant::now() > deadline {
            return Err(LATE);
        }
        let bytes: usize = page.iter().map(|(_, frame)| frame.len()).sum();
        let is_last = page.len() < PAGE && bytes < PART;
        if !is_last {
            // Before it is sent: the event loop may be the first to see that it is written.
            *socket.entering.lock() = Some(deadline);
        }
        let (standing, _) = socket.show(&page);
        event_loop::settle(shared, socket, standing);
        if !is_last {
            return Ok(());
        }
        let seen = page.last().map_or(seen, |(seq, _)| *seq);
        if shared.rooms.join(socket, seen) == Joined::Yes {
            // It may be gone already, when it was in no room yet.
            if shared.event_loop.get(socket.id).is_none() {
                shared.rooms.leave(socket);
            }
            return Ok(());
        }
    }
    Ok(())
}
