//! The thread that finds what is new, and shows it to all who are in the room.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foundation::mysql::{Access, DatabaseAway};
use parking_lot::{Condvar, Mutex};
use tungstenite::Utf8Bytes;

use super::{Shared, event_loop};
use crate::message::{Message, RoomId};
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
const MOST_REST: Duration = Duration::from_millis(60);
/// Messages of a room that are read at once.
const PAGE: usize = 500;
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread, and how it is woken.
#[derive(Default)]
pub(super) struct Tail {
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    /// This process has stored something.
    woken: bool,
    over: bool,
}

impl Tail {
    /// Has it look soon: this process has stored something.
    pub(super) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }

    /// Has it look once more, and ends the thread.
    pub(super) fn finish(&self) {
        self.state.lock().over = true;
        self.changed.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }

    /// Waits until it is woken, or the pause is over. Tells whether it is to end.
    fn wait(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        let until = Instant::now() + pause;
        self.changed
            .wait_while_until(&mut state, |state| !state.woken && !state.over, until);
        state.woken = false;
        state.over
    }
}

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let inner = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("tail".to_owned())
        .spawn(move || run(&inner))?;
    *shared.tail.thread.lock() = Some(thread);
    Ok(())
}

fn run(shared: &Shared) {
    let mut last_news: Option<Instant> = None;
    loop {
        let has_traffic = last_news.is_some_and(|news| news.elapsed() < TRAFFIC);
        let is_over = shared
            .tail
            .wait(if has_traffic { BUSY_PAUSE } else { QUIET_PAUSE });
        let begun = Instant::now();
        // What went wrong is logged, and the next look finds the same.
        let shown = look(shared).unwrap_or(0);
        if is_over {
            return;
        }
        if shown > 0 {
            last_news = Some(Instant::now());
            std::thread::sleep((begun.elapsed() * REST).min(MOST_REST));
        }
    }
}

/// Shows what is new in all rooms. Gives how many messages that were.
fn look(shared: &Shared) -> Result<usize, DatabaseAway> {
    let shown = shared.rooms.shown();
    if shown.is_empty() {
        return Ok(0);
    }
    let deadline = Instant::now() + LOOK_TIMEOUT;
    let read = move |connection: &mut mysql::Conn| news(connection, &shown);
    let news = shared.pool.run(Access::Read, deadline, read)?;
    let mut count = 0;
    for (room, from, messages) in news {
        count += messages.len();
        show(shared, room, from, &messages);
    }
    Ok(count)
}

/// What is new in a room, with the number of the message before.
type News = (RoomId, u64, Vec<Message>);

fn news(
    connection: &mut mysql::Conn,
    shown: &HashMap<RoomId, u64>,
) -> Result<Vec<News>, mysql::Error> {
    let mut news = Vec::new();
    for (room, last) in store::last_seqs(connection, shown.keys().copied())? {
        let from = shown[&room];
        if last > from {
            let messages = store::messages(connection, room, from, PAGE)?;
            news.push((room, from, messages));
        }
    }
    Ok(news)
}

fn show(shared: &Shared, room: RoomId, from: u64, messages: &[Message]) {
    let (Some(last), Some(name)) = (messages.last(), shared.rooms.name(room)) else {
        return;
    };
    let render = |message: &Message| (message.seq, Utf8Bytes::from(message.frame(&name)));
    let frames: Vec<_> = messages.iter().map(render).collect();
    for socket in shared.rooms.begin_to_show(room, from, last.seq) {
        let (standing, sent) = socket.show(&frames);
        shared.metrics.sent.inc_by(sent as u64);
        event_loop::settle(shared, &socket, false, standing);
    }
}
