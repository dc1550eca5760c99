//! Tasks are shown by one thread: it reads what many ask for at once, and holds who wants to wait.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use foundation::backoff::Backoff;
use foundation::http::{Exchange, Problem, Response};
use foundation::mysql::{Access, Pool};
use uuid::Uuid;

use super::unknown;
use crate::tasks::{self, Task};

/// Most requests that wait to be looked at for the first time; more are refused with 503.
const MAX_NEW: usize = 1024;
/// Most requests that are held. Beyond it none is, each is answered at once.
const MAX_HELD: usize = 4096;
/// The pauses between looks at what is held.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(2),
    longest: Duration::from_millis(100),
};
/// What a pause is longer for each request that is held, so that many cost not much more than few.
const PAUSE_EACH: Duration = Duration::from_micros(20);
/// Who waits is looked at for the last time when the wait is over, and for no longer than this.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A request for a task.
struct Asked {
    id: Uuid,
    exchange: Exchange,
    /// It is held until then, unless the task ends before.
    until: Instant,
    /// What is told of the wait.
    wait: Option<Duration>,
}

impl Asked {
    /// When it is answered, whatever the database does.
    fn deadline(&self) -> Instant {
        self.exchange.deadline().max(self.until + LAST_LOOK)
    }

    fn shown(&self, task: &Task) -> Response {
        let applied = |wait: Duration| format!("wait={}", wait.as_secs());
        match self.wait {
            Some(wait) => Response::json(task).with_header("Preference-Applied", applied(wait)),
            None => Response::json(task),
        }
    }
}

/// Shows tasks.
pub(super) struct Watcher {
    asked: Sender<Asked>,
    stopping: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts its thread, which ends when this is dropped. A request without `Prefer` is answered in `request_timeout`.
    pub(super) fn start(pool: Pool, request_timeout: Duration) -> io::Result<Self> {
        let (to_thread, asked) = bounded(MAX_NEW);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = WatcherThread {
            pool,
            asked,
            stopping: Arc::clone(&stopping),
            held: Vec::new(),
            // So that what comes while a look fails is looked at in its own time.
            look_timeout: request_timeout / 2,
            is_failing: false,
        };
        std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            asked: to_thread,
            stopping,
        })
    }

    /// Answers with a task; with `wait`, when it has ended or this time is over.
    pub(super) fn show(&self, id: Uuid, wait: Option<Duration>, exchange: Exchange) {
        let asked = Asked {
            id,
            until: exchange.received() + wait.unwrap_or_default(),
            exchange,
            wait,
        };
        if let Err(TrySendError::Full(asked) | TrySendError::Disconnected(asked)) =
            self.asked.try_send(asked)
        {
            let detail = "Too many requests are waiting. Try again a little later.";
            asked.exchange.answer(Problem::new(503, detail));
        }
    }

    /// Nobody is held any more.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

struct WatcherThread {
    pool: Pool,
    asked: Receiver<Asked>,
    stopping: Arc<AtomicBool>,
    held: Vec<Asked>,
    /// How long the database may take for a look.
    look_timeout: Duration,
    /// Whether the last look failed.
    is_failing: bool,
}

impl WatcherThread {
    fn run(mut self) {
        let mut looks_in_vain = 0;
        let mut look_at = Instant::now();
        loop {
            let next = if self.held.is_empty() {
                self.asked.recv().map_err(RecvTimeoutError::from)
            } else {
                self.asked.recv_deadline(look_at)
            };
            match next {
                Ok(asked) => {
                    let others = self.held.len();
                    let asked = std::iter::once(asked).chain(self.asked.try_iter().take(MAX_NEW));
                    // Who waits is looked at with the others that wait: soon, and at the cost of one. While looks fail,
                    // all are, as each takes long.
                    let with_others = (1..MAX_HELD).contains(&others);
                    let is_failing = self.is_failing;
                    let is_held =
                        |asked: &Asked| with_others && (asked.wait.is_some() || is_failing);
                    let (to_hold, asked): (Vec<_>, Vec<_>) = asked.partition(is_held);
                    self.held.extend(to_hold);
                    if !asked.is_empty() {
                        self.look(asked);
                    }
                    // Who asks for a task in order to wait most likely waits for a short one.
                    looks_in_vain = 0;
                    let soon = Instant::now() + self.pause(looks_in_vain);
                    look_at = if others == 0 { soon } else { soon.min(look_at) };
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Also while others ask all the time.
            if !self.held.is_empty() && Instant::now() >= look_at {
                let held = std::mem::take(&mut self.held);
                let before = held.len();
                self.look(held);
                let is_vain = self.held.len() == before;
                looks_in_vain = if is_vain { looks_in_vain + 1 } else { 0 };
                look_at = Instant::now() + self.pause(looks_in_vain);
            }
        }
    }

    fn pause(&self, looks_in_vain: u32) -> Duration {
        let of_all = PAUSE_EACH * u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        PAUSES.pause(looks_in_vain) + of_all
    }

    /// Answers those whose task has ended, and those that wait no longer, and holds the others.
    fn look(&mut self, asked: Vec<Asked>) {
        let mut ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let find = move |connection: &mut mysql::Conn| tasks::find(connection, &ids);
        // Nobody is kept beyond the deadline, be it one that is not looked at now.
        let deadlines = asked.iter().chain(&self.held).map(Asked::deadline);
        let longest = Instant::now() + self.look_timeout;
        let deadline = deadlines.fold(longest, Instant::min);
        let found = self.pool.run(Access::Read, deadline, find);
        self.is_failing = found.is_err();
        let now = Instant::now();
        let is_stopping = self.stopping.load(Ordering::Acquire);
        let found = found.map(|tasks| {
            let tasks = tasks.into_iter().map(|task| (task.task_id, task));
            tasks.collect::<HashMap<Uuid, Task>>()
        });
        for asked in asked {
            let is_over = is_stopping || self.held.len() >= MAX_HELD;
            let answer = match &found {
                Ok(tasks) => match tasks.get(&asked.id) {
                    None => Some(unknown().into()),
                    Some(task) => {
                        let is_over = is_over || now >= asked.until || task.task_status.has_ended();
                        is_over.then(|| asked.shown(task))
                    }
                },
                Err(away) => {
                    let is_over = is_over || now >= asked.deadline();
                    is_over.then(|| Problem::from(away.clone()).into())
                }
            };
            match answer {
                Some(answer) => asked.exchange.answer(answer),
                None => self.held.push(asked),
            }
        }
    }
}
