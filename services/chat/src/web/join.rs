//! Lets sockets enter rooms: each gets history first, then new messages, with no gap between.
//!
//! The threads here wait for the database, and never for a client: the event loop writes each part of history, and then
//! submits a job for the next part.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foundation::http::Upgraded;
use foundation::mysql::Access;
use mysql::Conn;
use tungstenite::protocol::frame::coding::CloseCode;

use super::handshake::SocketRequest;
use super::metrics::CountGuard;
use super::rooms::Joined;
use super::socket::{HISTORY_LATE, JoinJob, NO_ROOM, Reason, Socket};
use super::{SERVER_STOPS, Shared, event_loop};
use crate::store;

/// How many of the last messages a client gets if it sends no `after`.
const DEFAULT_HISTORY: u64 = 50;
/// Most messages of one part of history.
const PAGE_SIZE: usize = 100;
/// A part of history ends with the message that reaches this many bytes.
const PART_BYTES: usize = 64 << 10;
/// How long history may take. After that the socket is closed, and its client may resume from the last message that it got.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The database does not answer.
const DATABASE_AWAY: Reason = (
    CloseCode::Again,
    "The database does not answer. Come back a little later.",
);

/// Sends a part of history; after the last part the socket enters its room.
pub(super) fn run(shared: &Arc<Shared>, job: JoinJob) {
    let (socket, deadline) = match job {
        JoinJob::First(connection, request, guard) => {
            match create_socket(shared, connection, request, guard) {
                Some(created) => created,
                None => return,
            }
        }
        JoinJob::Next(socket, deadline) => (socket, deadline),
    };
    if let Err(reason) = send_history(shared, &socket, deadline) {
        event_loop::handle_status(shared, &socket, socket.close(reason));
    }
}

/// Finds the room, and adds the socket to the event loop. `None` if the client is gone.
fn create_socket(
    shared: &Arc<Shared>,
    connection: Upgraded,
    request: SocketRequest,
    guard: CountGuard,
) -> Option<(Arc<Socket>, Instant)> {
    let deadline = Instant::now() + TIMEOUT;
    let name = request.room.clone();
    let find = move |connection: &mut Conn| store::find_or_create_room(connection, &name);
    let found = shared.pool.run(Access::Write, deadline, find);
    let (room, last) = found.unwrap_or((NO_ROOM, 0));
    let id = shared.next_socket_id.fetch_add(1, Ordering::Relaxed);
    let seen = request
        .after
        .unwrap_or(last.saturating_sub(DEFAULT_HISTORY))
        .min(last);
    let socket = Arc::new(Socket::new(id, request, room, seen, connection, guard).ok()?);
    shared.event_loop.add(&socket).ok()?;
    // Bytes that came with the handshake are buffered already, and cause no event.
    event_loop::read_socket(shared, &socket);
    Some((socket, deadline))
}

/// Sends the next part of history. After the last part, the socket enters the room.
fn send_history(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    deadline: Instant,
) -> Result<(), Reason> {
    let room = socket.room;
    while let Some(seen) = socket.last_sent_if_open() {
        if room == NO_ROOM {
            return Err(DATABASE_AWAY);
        }
        let name = socket.request.room.clone();
        let read = move |connection: &mut Conn| {
            store::read_frames(connection, room, &name, seen, PAGE_SIZE, PART_BYTES)
        };
        let page = shared.pool.run(Access::Read, deadline, read);
        // Checked first: a stop closes the sockets that it finds, and this one may have been added later.
        if shared.stopping.load(Ordering::Acquire) {
            return Err(SERVER_STOPS);
        }
        let page = page.map_err(|_away| DATABASE_AWAY)?;
        if Instant::now() > deadline {
            return Err(HISTORY_LATE);
        }
        let bytes: usize = page.iter().map(|(_, frame)| frame.len()).sum();
        let is_last = page.len() < PAGE_SIZE && bytes < PART_BYTES;
        if !is_last {
            // Set before sending, because the event loop may be the first to notice that all is written.
            *socket.history_deadline.lock() = Some(deadline);
        }
        let (status, _) = socket.send(&page);
        event_loop::handle_status(shared, socket, status);
        if !is_last {
            return Ok(());
        }
        let seen = page.last().map_or(seen, |(seq, _)| *seq);
        if shared.rooms.join(socket, seen) == Joined::Yes {
            // If it closed before it entered, the event loop did not remove it from the room.
            if shared.event_loop.get(socket.id).is_none() {
                shared.rooms.leave(socket);
            }
            return Ok(());
        }
    }
    Ok(())
}
