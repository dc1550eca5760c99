//! The thread that reads from all sockets, and checks their timeouts.

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
use super::socket::{JoinJob, NO_ROOM, Socket, Status};
use crate::message::{NewMessage, Refused};

/// How often timeouts and pings are checked.
const TICK: Duration = Duration::from_secs(1);
/// Most events of one call of `epoll_wait`.
const MAX_EVENTS: usize = 256;

/// The events of a socket: it is readable, or writable. They are edge-triggered, so that no system call is needed to change
/// the interest when output is pending.
const INTEREST: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::ET);

/// All sockets, with the epoll instance that watches them.
pub(super) struct EventLoop {
    epoll: OwnedFd,
    sockets: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Set when the thread is to end: as soon as there are no sockets, or at this deadline.
    deadline: OnceLock<Instant>,
}

impl EventLoop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sockets: Mutex::default(),
            deadline: OnceLock::new(),
        })
    }

    /// All sockets.
    pub(super) fn all(&self) -> Vec<Arc<Socket>> {
        self.sockets.lock().values().map(Arc::clone).collect()
    }

    /// The socket with this id, unless it is gone.
    pub(super) fn get(&self, socket: u64) -> Option<Arc<Socket>> {
        self.sockets.lock().get(&socket).map(Arc::clone)
    }

    /// Watches a socket from now on.
    pub(super) fn add(&self, socket: &Arc<Socket>) -> io::Result<()> {
        self.sockets.lock().insert(socket.id, Arc::clone(socket));
        let data = EventData::new_u64(socket.id);
        let added = socket.with_descriptor(|it| epoll::add(&self.epoll, it, data, INTEREST));
        if added.is_err() {
            self.sockets.lock().remove(&socket.id);
        }
        Ok(added?)
    }

    /// Makes epoll report the socket again if it is readable.
    fn rearm(&self, socket: &Socket) {
        let data = EventData::new_u64(socket.id);
        // It fails if the socket is gone.
        let _gone = socket.with_descriptor(|it| epoll::modify(&self.epoll, it, data, INTEREST));
    }

    /// Ends the thread when all sockets are gone, or at the deadline.
    pub(super) fn stop(&self, deadline: Instant) {
        let _stopped_before = self.deadline.set(deadline);
    }

    fn is_over(&self) -> bool {
        let is_over =
            |deadline: &Instant| Instant::now() >= *deadline || self.sockets.lock().is_empty();
        self.deadline.get().is_some_and(is_over)
    }
}

/// Reads from all sockets, and checks their timeouts, until [`EventLoop::stop`].
pub(super) fn run(shared: &Arc<Shared>) {
    let event_loop = &shared.event_loop;
    let mut events = Vec::with_capacity(MAX_EVENTS);
    let mut last_tick = Instant::now();
    while !event_loop.is_over() {
        let wait = match event_loop.deadline.get() {
            Some(_) => TICK / 100,
            None => TICK.saturating_sub(last_tick.elapsed()),
        };
        let wait = Timespec::try_from(wait).ok();
        // It fails if a signal interrupts it.
        let _interrupted = epoll::wait(
            &event_loop.epoll,
            spare_capacity(&mut events),
            wait.as_ref(),
        );
        for event in events.drain(..) {
            if let Some(socket) = event_loop.get(event.data.u64()) {
                read_socket(shared, &socket);
            }
        }
        if last_tick.elapsed() >= TICK {
            last_tick = Instant::now();
            for socket in event_loop.all() {
                handle_status(shared, &socket, socket.tick(last_tick));
            }
        }
    }
}

/// Reads from a socket, and writes its pending output.
pub(super) fn read_socket(shared: &Arc<Shared>, socket: &Arc<Socket>) {
    let status = socket.read(|frame| accept_frame(shared, socket, frame));
    handle_status(shared, socket, status);
    if socket.has_more() {
        shared.event_loop.rearm(socket);
    }
}

fn accept_frame(shared: &Shared, socket: &Socket, frame: &str) -> Result<(), Refused> {
    if shared.stopping.load(Ordering::Acquire) {
        return Err(Refused::Stopping);
    }
    let message = NewMessage::parse(socket.room, frame)?;
    // The room was not found, and the socket is about to be closed.
    if socket.room == NO_ROOM {
        return Err(Refused::Busy);
    }
    shared.writer.submit(message, Some(socket.id))
}

/// Acts on the status of a socket. When all is written, the next part of its history is sent, if there is one. When it is gone,
/// it is removed, and its room gets a notice.
pub(super) fn handle_status(shared: &Arc<Shared>, socket: &Arc<Socket>, status: Status) {
    match status {
        Status::Pending => {}
        Status::Flushed => {
            if let Some(deadline) = socket.history_deadline.lock().take() {
                let job = JoinJob::Next(Arc::clone(socket), deadline);
                shared.join_pool.submit((Arc::clone(shared), job));
            }
        }
        Status::Gone => {
            let event_loop = &shared.event_loop;
            if event_loop.sockets.lock().remove(&socket.id).is_none() {
                return;
            }
            let _gone = socket.with_descriptor(|it| epoll::delete(&event_loop.epoll, it));
            shared.rooms.leave(socket);
            if socket.room != NO_ROOM && !shared.stopping.load(Ordering::Acquire) {
                let left = NewMessage::left(socket.room, socket.request.client);
                let _stopping = shared.writer.submit(left, None);
            }
        }
    }
}

/// Tells a client, if it is still connected, that its message is refused.
pub(super) fn refuse(shared: &Arc<Shared>, socket: u64, refused: &Refused, id: Uuid) {
    if let Some(socket) = shared.event_loop.get(socket) {
        handle_status(shared, &socket, socket.refuse(refused, Some(id)));
    }
}
