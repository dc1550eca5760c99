//! Shows tasks with one thread: it reads the tasks of many requests in one query, and holds requests that wait for a task's end.

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

use super::not_found;
use crate::tasks::{self, Task};

/// Most requests that are queued for their first poll; further ones are refused with 503.
const MAX_QUEUED: usize = 1024;
/// Most requests that are held. Further ones are answered at once.
const MAX_HELD: usize = 4096;
/// The pauses between polls for the held requests.
const POLL_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(2),
    longest: Duration::from_millis(100),
};
/// Added to the pause for each held request, so that polling for many costs not much more than for few.
const PAUSE_PER_REQUEST: Duration = Duration::from_micros(20);
/// How long the last poll may take, which begins when the wait of a request is over.
const LAST_POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// A request to show a task.
struct ShowRequest {
    id: Uuid,
    exchange: Exchange,
    /// It is held until then, unless the task ends earlier.
    hold_until: Instant,
    /// The wait that the client prefers, for `Preference-Applied`.
    wait: Option<Duration>,
}

impl ShowRequest {
    /// When it is answered at the latest, even if the database does not respond.
    fn deadline(&self) -> Instant {
        self.exchange
            .deadline()
            .max(self.hold_until + LAST_POLL_TIMEOUT)
    }

    fn response(&self, task: &Task) -> Response {
        let applied = |wait: Duration| format!("wait={}", wait.as_secs());
        match self.wait {
            Some(wait) => Response::json(task).with_header("Preference-Applied", applied(wait)),
            None => Response::json(task),
        }
    }
}

/// Queues requests for the watcher's thread.
pub(super) struct Watcher {
    sender: Sender<ShowRequest>,
    stopping: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts the thread, which ends when this is dropped. A request without `Prefer` is answered within `request_timeout`.
    pub(super) fn start(pool: Pool, request_timeout: Duration) -> io::Result<Self> {
        let (sender, receiver) = bounded(MAX_QUEUED);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = WatcherThread {
            pool,
            receiver,
            stopping: Arc::clone(&stopping),
            held: Vec::new(),
            // Half, so that a request that comes while a poll fails is polled within its own timeout.
            poll_timeout: request_timeout / 2,
            is_failing: false,
        };
        std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self { sender, stopping })
    }

    /// Answers `exchange` with a task; with `wait`, when the task has ended or this time is over.
    pub(super) fn show(&self, id: Uuid, wait: Option<Duration>, exchange: Exchange) {
        let request = ShowRequest {
            id,
            hold_until: exchange.received() + wait.unwrap_or_default(),
            exchange,
            wait,
        };
        if let Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) =
            self.sender.try_send(request)
        {
            let detail = "Too many requests are waiting. Try again a little later.";
            request.exchange.answer(Problem::new(503, detail));
        }
    }

    /// Ends all waits: held requests are answered at their next poll, and no others are held.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

struct WatcherThread {
    pool: Pool,
    receiver: Receiver<ShowRequest>,
    stopping: Arc<AtomicBool>,
    held: Vec<ShowRequest>,
    /// How long the database may take for a poll.
    poll_timeout: Duration,
    /// Whether the last poll failed.
    is_failing: bool,
}

impl WatcherThread {
    fn run(mut self) {
        let mut idle_polls = 0;
        let mut next_poll = Instant::now();
        loop {
            let next = if self.held.is_empty() {
                self.receiver.recv().map_err(RecvTimeoutError::from)
            } else {
                self.receiver.recv_deadline(next_poll)
            };
            match next {
                Ok(request) => {
                    let held_before = self.held.len();
                    let queued = self.receiver.try_iter().take(MAX_QUEUED);
                    let requests = std::iter::once(request).chain(queued);
                    // Requests that wait join the next poll for the held ones, which is soon and needs one query for all.
                    // While polls fail all requests join it, because each failure takes long.
                    let can_join = (1..MAX_HELD).contains(&held_before);
                    let is_failing = self.is_failing;
                    let is_held =
                        |request: &ShowRequest| can_join && (request.wait.is_some() || is_failing);
                    let (to_hold, to_poll): (Vec<_>, Vec<_>) = requests.partition(is_held);
                    self.held.extend(to_hold);
                    if !to_poll.is_empty() {
                        self.poll(to_poll);
                    }
                    // The backoff starts again, because a client that waits most likely waits for a short task.
                    idle_polls = 0;
                    let soon = Instant::now() + self.pause(idle_polls);
                    next_poll = if held_before == 0 {
                        soon
                    } else {
                        soon.min(next_poll)
                    };
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Checked after new requests as well, so that a steady stream of them does not delay the held ones.
            if !self.held.is_empty() && Instant::now() >= next_poll {
                let held = std::mem::take(&mut self.held);
                let before = held.len();
                self.poll(held);
                let is_idle = self.held.len() == before;
                idle_polls = if is_idle { idle_polls + 1 } else { 0 };
                next_poll = Instant::now() + self.pause(idle_polls);
            }
        }
    }

    fn pause(&self, idle_polls: u32) -> Duration {
        let for_all = PAUSE_PER_REQUEST * u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        POLL_BACKOFF.pause(idle_polls) + for_all
    }

    /// Reads the tasks. Answers the requests whose task has ended or whose wait is over, and holds the others.
    fn poll(&mut self, requests: Vec<ShowRequest>) {
        let mut ids: Vec<_> = requests.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let find = move |connection: &mut mysql::Conn| tasks::find(connection, &ids);
        // No request passes its deadline, including the held ones that this poll does not read.
        let deadlines = requests.iter().chain(&self.held).map(ShowRequest::deadline);
        let latest = Instant::now() + self.poll_timeout;
        let deadline = deadlines.fold(latest, Instant::min);
        let found = self.pool.run(Access::Read, deadline, find);
        self.is_failing = found.is_err();
        let now = Instant::now();
        let is_stopping = self.stopping.load(Ordering::Acquire);
        let found = found.map(|tasks| {
            let tasks = tasks.into_iter().map(|task| (task.task_id, task));
            tasks.collect::<HashMap<Uuid, Task>>()
        });
        for request in requests {
            let cannot_hold = is_stopping || self.held.len() >= MAX_HELD;
            let answer = match &found {
                Ok(tasks) => match tasks.get(&request.id) {
                    None => Some(not_found().into()),
                    Some(task) => {
                        let is_over = now >= request.hold_until || task.task_status.has_ended();
                        (cannot_hold || is_over).then(|| request.response(task))
                    }
                },
                Err(away) => {
                    let is_over = now >= request.deadline();
                    (cannot_hold || is_over).then(|| Problem::from(away.clone()).into())
                }
            };
            match answer {
                Some(answer) => request.exchange.answer(answer),
                None => self.held.push(request),
            }
        }
    }
}
