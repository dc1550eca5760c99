//! The thread that reads from all sockets, and sees to what time brings.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;

use super::socket::{Entering, Joining, LATE, NO_ROOM, Socket, Standing};
use super::{Shared, writer};
use crate::message::{NewMessage, Refused};

/// How often it is seen what time brings: pings, and who is silent for too long.
const TICK: Duration = Duration::from_secs(1);
/// Sockets that are told of at once.
const EVENTS: usize = 256;

/// All sockets, and what the system tells of them.
pub(super) struct EventLoop {
    epoll: OwnedFd,
    sockets: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Set when it is to end: without sockets, or at this moment.
    end: Mutex<Option<Instant>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl EventLoop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sockets: Mutex::default(),
            end: Mutex::default(),
            thread: Mutex::default(),
        })
    }

    /// How many sockets there are.
    pub(super) fn len(&self) -> usize {
        self.sockets.lock().len()
    }

    /// All sockets.
    pub(super) fn all(&self) -> Vec<Arc<Socket>> {
        self.sockets.lock().values().map(Arc::clone).collect()
    }

    /// A socket that is not gone.
    pub(super) fn get(&self, socket: u64) -> Option<Arc<Socket>> {
        self.sockets.lock().get(&socket).map(Arc::clone)
    }

    /// Reads from a socket from now on.
    pub(super) fn add(&self, socket: &Arc<Socket>) -> io::Result<()> {
        self.sockets.lock().insert(socket.id, Arc::clone(socket));
        let data = EventData::new_u64(socket.id);
        let added =
            socket.with_descriptor(|it, _unsent| epoll::add(&self.epoll, it, data, EventFlags::IN));
        if added.is_err() {
            self.sockets.lock().remove(&socket.id);
        }
        Ok(added?)
    }

    /// Tells the system what is wanted to be known of a socket, after it was written to. As it is now: another thread may have
    /// written since.
    pub(super) fn watch(&self, socket: &Socket) {
        let data = EventData::new_u64(socket.id);
        // It fails for one that is gone.
        let _gone = socket.with_descriptor(|it, unsent| {
            let flags = if unsent {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(&self.epoll, it, data, flags)
        });
    }

    /// Waits until all sockets are gone, at most until then, and ends the thread.
    pub(super) fn finish(&self, until: Instant) {
        *self.end.lock() = Some(until);
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }

    fn is_over(&self) -> bool {
        let end = *self.end.lock();
        end.is_some_and(|end| Instant::now() >= end || self.sockets.lock().is_empty())
    }
}

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let inner = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("event-loop".to_owned())
        .spawn(move || run(&inner))?;
    *shared.event_loop.thread.lock() = Some(thread);
    Ok(())
}

fn run(shared: &Shared) {
    let event_loop = &shared.event_loop;
    let mut events = Vec::with_capacity(EVENTS);
    let mut ticked = Instant::now();
    while !event_loop.is_over() {
        let wait = if event_loop.end.lock().is_some() {
            TICK / 100
        } else {
            TICK.saturating_sub(ticked.elapsed())
        };
        let wait = Timespec::try_from(wait).ok();
        // It fails when a signal interrupts it.
        let _interrupted = epoll::wait(
            &event_loop.epoll,
            spare_capacity(&mut events),
            wait.as_ref(),
        );
        for event in events.drain(..) {
            let (id, flags) = (event.data.u64(), event.flags);
            if let Some(socket) = event_loop.get(id) {
                attend(shared, &socket, flags);
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            for socket in event_loop.all() {
                let standing = socket.tick(ticked);
                settle(shared, &socket, false, standing);
                close_late(shared, &socket, ticked);
            }
        }
    }
}

/// Reads from a socket and writes to it, as the system says it can.
pub(super) fn attend(shared: &Shared, socket: &Socket, flags: EventFlags) {
    let had_unsent = flags.contains(EventFlags::OUT);
    if had_unsent {
        let standing = socket.write();
        settle(shared, socket, had_unsent, standing);
    }
    if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        let standing = socket.read(|frame| take(shared, socket, frame));
        settle(shared, socket, false, standing);
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
    writer::submit(shared, message, socket.id)
}

/// Acts on what became of a socket: watches it further, or forgets it and tells its room.
pub(super) fn settle(shared: &Shared, socket: &Socket, had_unsent: bool, standing: Standing) {
    match standing {
        Standing::Open { unsent } => {
            if unsent != had_unsent {
                shared.event_loop.watch(socket);
            }
            if !unsent {
                go_on(shared, socket);
            }
        }
        Standing::Gone => {
            let removed = shared.event_loop.sockets.lock().remove(&socket.id);
            let Some(removed) = removed else {
                return;
            };
            let _gone =
                removed.with_descriptor(|it, _unsent| epoll::delete(&shared.event_loop.epoll, it));
            shared.rooms.leave(&removed);
            if removed.room != NO_ROOM && !shared.stopping.load(Ordering::Acquire) {
                writer::submit_notice(shared, NewMessage::left(removed.room, removed.client));
            }
        }
    }
}

/// Tells a client, if it is still there, that its message was not taken.
pub(super) fn refuse(shared: &Shared, socket: u64, refused: &Refused, id: Uuid) {
    if let Some(socket) = shared.event_loop.get(socket) {
        let standing = socket.refuse(refused, Some(id));
        settle(shared, &socket, false, standing);
    }
}

/// Has the next part of a socket's history sent, if there is one, as the part before is written.
fn go_on(shared: &Shared, socket: &Socket) {
    let Some(entering) = socket.entering.lock().take() else {
        return;
    };
    if let Some(socket) = shared.event_loop.get(socket.id) {
        shared.joins.submit(Joining::Next(socket, entering));
    }
}

/// Closes a socket whose client takes too long to read its history.
fn close_late(shared: &Shared, socket: &Socket, now: Instant) {
    let is_late = |entering: &mut Entering| now > entering.deadline;
    let late = socket.entering.lock().take_if(is_late);
    if late.is_some() {
        let standing = socket.close(CloseCode::Again, LATE);
        settle(shared, socket, false, standing);
    }
}
