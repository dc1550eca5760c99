//! The rooms that somebody here is in, and who.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::socket::Socket;
use crate::message::{RoomId, RoomName};

/// The rooms that somebody here is in.
#[derive(Default)]
pub(super) struct Rooms {
    rooms: Mutex<HashMap<RoomId, Room>>,
}

struct Room {
    name: RoomName,
    /// The number of the last message that was shown to all who are in it.
    shown: u64,
    sockets: HashMap<u64, Arc<Socket>>,
}

/// Whether a socket is in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    Yes,
    /// Others were shown more already: it needs more history first.
    Behind,
}

impl Rooms {
    /// Puts a socket, which has got all messages up to `seen`, into its room.
    pub(super) fn join(&self, socket: &Arc<Socket>, seen: u64) -> Joined {
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(socket.room).or_insert_with(|| Room {
            name: socket.wanted.room.clone(),
            shown: seen,
            sockets: HashMap::new(),
        });
        if room.shown > seen {
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

    /// The rooms, with their names, and the numbers of the last messages that were shown.
    pub(super) fn shown(&self) -> HashMap<RoomId, (RoomName, u64)> {
        let rooms = self.rooms.lock();
        let shown = |(&id, room): (_, &Room)| (id, (room.name.clone(), room.shown));
        rooms.iter().map(shown).collect()
    }

    /// All who are in a room, and from now on count as having been shown what follows `from`, up to `to`. None if the room was
    /// left meanwhile, or left and entered anew with another beginning.
    pub(super) fn begin_to_show(&self, room: RoomId, from: u64, to: u64) -> Vec<Arc<Socket>> {
        let mut rooms = self.rooms.lock();
        match rooms.get_mut(&room) {
            Some(room) if room.shown == from => {
                room.shown = to;
                room.sockets.values().map(Arc::clone).collect()
            }
            _ => Vec::new(),
        }
    }
}
