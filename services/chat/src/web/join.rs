//! The way into a room: history first, then what is new, with nothing missed between.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foundation::http::Upgraded;
use foundation::mysql::Access;
use mysql::Conn;
use rustix::event::epoll::EventFlags;
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::CloseCode;

use super::handshake::Wanted;
use super::metrics::Counted;
use super::rooms::Joined;
use super::socket::Socket;
use super::{GOOD_BYE, Shared, event_loop};
use crate::message::RoomId;
use crate::store;

/// How many of the last messages a client gets that does not say what it has seen.
const LAST: u64 = 50;
/// Messages of history that are read at once.
const PAGE: usize = 200;
/// How long history may take. Who needs longer is closed, and may resume with what it has got by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Stands for the room of a socket that finds none, and is closed.
const NO_ROOM: RoomId = RoomId(0);

/// A connection that is about to enter a room.
pub(super) struct Joining {
    connection: Upgraded,
    wanted: Wanted,
    counted: Counted,
}

/// Why nobody entered.
enum NotJoined {
    /// The client is gone.
    Gone,
    /// The client, or the database, was too slow.
    Late,
    /// The server stops.
    Stopping,
}

impl From<Error> for NotJoined {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => Self::Late,
            _gone => Self::Gone,
        }
    }
}

impl From<std::io::Error> for NotJoined {
    fn from(_gone: std::io::Error) -> Self {
        Self::Gone
    }
}

impl Joining {
    pub(super) fn new(connection: Upgraded, wanted: Wanted, counted: Counted) -> Self {
        Self {
            connection,
            wanted,
            counted,
        }
    }

    /// Sends history, and enters the room.
    pub(super) fn run(self, shared: &Shared) {
        let deadline = Instant::now() + TIMEOUT;
        let Wanted {
            client,
            room: name,
            after,
        } = self.wanted;
        let wanted = name.clone();
        let find = move |connection: &mut Conn| store::room(connection, &wanted);
        let found = shared.pool.run(Access::Write, deadline, find);
        let id = shared.next_socket.fetch_add(1, Ordering::Relaxed);
        let room = found.as_ref().map_or(NO_ROOM, |(room, _)| *room);
        let socket = Arc::new(Socket::new(id, client, room, self.connection, self.counted));
        let joined = found
            .map_err(|_away| NotJoined::Late)
            .and_then(|(_, last)| {
                let after = after.unwrap_or(last.saturating_sub(LAST)).min(last);
                enter(shared, &socket, name.as_str(), after, deadline)
            });
        match joined {
            Ok(()) => {
                // What came with the handshake tells no event.
                event_loop::attend(shared, &socket, EventFlags::IN);
            }
            Err(NotJoined::Gone) => {}
            Err(NotJoined::Late) => {
                let reason = "History takes too long. Resume with `after`.";
                let _closed = socket.close(CloseCode::Again, reason);
            }
            Err(NotJoined::Stopping) => {
                let _closed = socket.close(CloseCode::Away, GOOD_BYE);
            }
        }
    }
}

fn enter(
    shared: &Shared,
    socket: &Arc<Socket>,
    name: &str,
    after: u64,
    deadline: Instant,
) -> Result<(), NotJoined> {
    socket.settle()?;
    socket.block_until(Some(deadline))?;
    let (room, mut seen) = (socket.room, after);
    loop {
        let read = move |connection: &mut Conn| store::messages(connection, room, seen, PAGE);
        let page = shared.pool.run(Access::Read, deadline, read);
        let page = page.map_err(|_away| NotJoined::Late)?;
        if shared.stopping.load(Ordering::Acquire) {
            return Err(NotJoined::Stopping);
        }
        if Instant::now() > deadline {
            return Err(NotJoined::Late);
        }
        let is_last = page.len() < PAGE;
        seen = page.last().map_or(seen, |message| message.seq);
        let frames = page.iter().map(|message| message.frame(name).into());
        socket.send_history(frames.collect(), seen)?;
        if !is_last {
            continue;
        }
        socket.block_until(None)?;
        match shared.rooms.join(socket, name, seen) {
            Joined::Yes => {
                let added = shared.event_loop.add(socket);
                added.inspect_err(|_no_descriptor| shared.rooms.leave(socket))?;
                return Ok(());
            }
            Joined::Behind => socket.block_until(Some(deadline))?,
        }
    }
}
