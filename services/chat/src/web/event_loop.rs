//! The thread that reads from all sockets, and sees to what time brings.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use uuid::Uuid;

use super::Shared;
use super::socket::{Joining, NO_ROOM, Socket, Standing};
use crate::message::{NewMessage, Refused};

/// How often it is seen what time brings: pings, and who is silent for too long.
const TICK: Duration = Duration::from_secs(1);
/// Sockets that are told of at once.
const EVENTS: usize = 256;

/// What the system tells of a socket: that more has come to be read, or that it takes more of what waits to be written. Each
/// change once, whatever was made of it, so that nothing else is to be told to the system when something waits.
const CHANGES: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::ET);

/// All sockets, and what the system tells of them.
pub(super) struct EventLoop {
    epoll: OwnedFd,
    sockets: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Set when it is to end: without sockets, or at this moment.
    end: OnceLock<Instant>,
}

impl EventLoop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sockets: Mutex::default(),
            end: OnceLock::new(),
        })
    }

    /// All sockets.
    pub(super) fn all(&self) -> Vec<Arc<Socket>> {
        self.sockets.lock().values().map(Arc::clone).collect()
    }

    /// A socket that is not gone.
    pub(super) fn get(&self, socket: u64) -> Option<Arc<Socket>> {
        self.sockets.lock().get(&socket).map(Arc::clone)
    }

    /// Attends to a socket from now on.
    pub(super) fn add(&self, socket: &Arc<Socket>) -> io::Result<()> {
        self.sockets.lock().insert(socket.id, Arc::clone(socket));
        let data = EventData::new_u64(socket.id);
        let added = socket.with_descriptor(|it| epoll::add(&self.epoll, it, data, CHANGES));
        if added.is_err() {
            self.sockets.lock().remove(&socket.id);
        }
        Ok(added?)
    }

    /// Has the system tell again of a socket that there is something to read.
    fn remind(&self, socket: &Socket) {
        let data = EventData::new_u64(socket.id);
        // It fails for one that is gone.
        let _gone = socket.with_descriptor(|it| epoll::modify(&self.epoll, it, data, CHANGES));
    }

    /// Ends the thread when all sockets are gone, or then.
    pub(super) fn stop(&self, until: Instant) {
        let _stopped_before = self.end.set(until);
    }

    fn is_over(&self) -> bool {
        let is_over = |end: &Instant| Instant::now() >= *end || self.sockets.lock().is_empty();
        self.end.get().is_some_and(is_over)
    }
}

/// Attends to all sockets.
pub(super) fn run(shared: &Arc<Shared>) {
    let event_loop = &shared.event_loop;
    let mut events = Vec::with_capacity(EVENTS);
    let mut ticked = Instant::now();
    while !event_loop.is_over() {
        let wait = match event_loop.end.get() {
            Some(_) => TICK / 100,
            None => TICK.saturating_sub(ticked.elapsed()),
        };
        let wait = Timespec::try_from(wait).ok();
        // It fails when a signal interrupts it.
        let _interrupted = epoll::wait(
            &event_loop.epoll,
            spare_capacity(&mut events),
            wait.as_ref(),
        );
        for event in events.drain(..) {
            if let Some(socket) = event_loop.get(event.data.u64()) {
                attend(shared, &socket);
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            for socket in event_loop.all() {
                settle(shared, &socket, socket.tick(ticked));
            }
        }
    }
}

/// Reads from a socket, and writes what waits.
pub(super) fn attend(shared: &Arc<Shared>, socket: &Arc<Socket>) {
    let standing = socket.read(|frame| take(shared, socket, frame));
    settle(shared, socket, standing);
    if socket.has_more() {
        shared.event_loop.remind(socket);
    }
}

fn take(shared: &Shared, socket: &Socket, frame: &str) -> Result<(), Refused> {
    if shared.stopping.load(Ordering::Acquire) {
        return Err(Refused::Stopping);
    }
    let message = NewMessage::parse(socket.room, frame)?;
    // The room could not be found, and the socket is about to be closed.
    if socket.room == NO_ROOM {
        return Err(Refused::Busy);
    }
    shared.writer.submit(message, Some(socket.id))
}

/// Acts on what became of a socket: has the next part of its history sent, if there is one, when the part before is written;
/// or forgets it and tells its room.
pub(super) fn settle(shared: &Arc<Shared>, socket: &Arc<Socket>, standing: Standing) {
    match standing {
        Standing::Unsent => {}
        Standing::Written => {
            if let Some(deadline) = socket.entering.lock().take() {
                let joining = Joining::Next(Arc::clone(socket), deadline);
                shared.joins.submit((Arc::clone(shared), joining));
            }
        }
        Standing::Gone => {
            let event_loop = &shared.event_loop;
            if event_loop.sockets.lock().remove(&socket.id).is_none() {
                return;
            }
            let _gone = socket.with_descriptor(|it| epoll::delete(&event_loop.epoll, it));
            shared.rooms.leave(socket);
            if socket.room != NO_ROOM && !shared.stopping.load(Ordering::Acquire) {
                let left = NewMessage::left(socket.room, socket.wanted.client);
                let _stopping = shared.writer.submit(left, None);
            }
        }
    }
}

/// Tells a client, if it is still there, that its message was not taken.
pub(super) fn refuse(shared: &Arc<Shared>, socket: u64, refused: &Refused, id: Uuid) {
    if let Some(socket) = shared.event_loop.get(socket) {
        settle(shared, &socket, socket.refuse(refused, Some(id)));
    }
}
