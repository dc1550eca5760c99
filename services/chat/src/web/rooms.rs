//! The rooms that have sockets in this process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::socket::Socket;
use crate::message::{RoomId, RoomName};

/// The rooms that have sockets in this process.
#[derive(Default)]
pub(super) struct Rooms {
    rooms: Mutex<HashMap<RoomId, Room>>,
}

struct Room {
    name: RoomName,
    /// The number of the last message that was shown to all its sockets.
    last_shown: u64,
    sockets: HashMap<u64, Arc<Socket>>,
}

/// Whether a socket is in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    Yes,
    /// The room's other sockets have been shown newer messages: it needs more history first.
    Behind,
}

impl Rooms {
    /// Puts a socket, which was sent all messages up to `seen`, into its room.
    pub(super) fn join(&self, socket: &Arc<Socket>, seen: u64) -> Joined {
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(socket.room).or_insert_with(|| Room {
            name: socket.request.room.clone(),
            last_shown: seen,
            sockets: HashMap::new(),
        });
        if room.last_shown > seen {
            return Joined::Behind;
        }
        room.sockets.insert(socket.id, Arc::clone(socket));
        Joined::Yes
    }

    /// Takes a socket out of its room.
    pub(super) fn leave(&self, socket: &Socket) {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get_mut(&socket.room) {
            room.sockets.remove(&socket.id);
            if room.sockets.is_empty() {
                rooms.remove(&socket.room);
            }
        }
    }

    /// The rooms, with their names and the numbers of the last messages that were shown.
    pub(super) fn last_shown(&self) -> HashMap<RoomId, (RoomName, u64)> {
        let rooms = self.rooms.lock();
        let shown = |(&id, room): (_, &Room)| (id, (room.name.clone(), room.last_shown));
        rooms.iter().map(shown).collect()
    }

    /// Advances the room's last shown message from `from` to `to`, and returns its sockets, to which the caller sends these
    /// messages. Returns none if its last one is not `from` any more, because all sockets left it, and perhaps others came.
    pub(super) fn advance(&self, room: RoomId, from: u64, to: u64) -> Vec<Arc<Socket>> {
        let mut rooms = self.rooms.lock();
        match rooms.get_mut(&room) {
            Some(room) if room.last_shown == from => {
                room.last_shown = to;
                room.sockets.values().map(Arc::clone).collect()
            }
            _ => Vec::new(),
        }
    }
}
