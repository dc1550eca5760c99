//! Polls for the changes of other processes.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foundation::mysql::{Access, DatabaseAway, Pool};

use crate::users::cache::UserCache;
use crate::users::signing_keys::SigningKeys;
use crate::users::store;

/// Time from poll to poll: half of the cache's staleness bound, so that one poll may be late.
const INTERVAL: Duration = Duration::from_millis(50);
/// A poll that takes longer is given up, and retried.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(600);

/// The thread that polls.
pub struct ChangeFeed {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Poller {
    pool: Pool,
    cache: Arc<UserCache>,
    keys: Arc<SigningKeys>,
    last_seen: u64,
    last_cleanup: Instant,
}

impl ChangeFeed {
    /// Starts the thread. `last_seen` is the number of the last change that is known.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        pool: Pool,
        cache: Arc<UserCache>,
        keys: Arc<SigningKeys>,
        last_seen: u64,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let mut poller = Poller {
            pool,
            cache,
            keys,
            last_seen,
            last_cleanup: Instant::now(),
        };
        let poll_loop = move || {
            loop {
                let started = Instant::now();
                // A failure was logged, and the cache is not used until a poll succeeds.
                let _ = poller.poll(started);
                let pause = INTERVAL.saturating_sub(started.elapsed());
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("changes".to_owned());
        Ok(Self {
            stop,
            thread: thread.spawn(poll_loop)?,
        })
    }

    /// Stops the thread.
    pub fn finish(self) {
        drop(self.stop);
        // A panic of the thread was logged.
        let _ = self.thread.join();
    }
}

impl Poller {
    fn poll(&mut self, started: Instant) -> Result<(), DatabaseAway> {
        let last_seen = self.last_seen;
        let query = move |connection: &mut _| store::changes(connection, last_seen);
        let (last, changes) = self.pool.run(Access::Read, started + POLL_TIMEOUT, query)?;
        match &changes {
            Some(changes) => self.cache.apply(changes, started),
            None => self.cache.clear(started),
        }
        if changes.is_none_or(|changes| changes.iter().any(|change| change.user.is_none())) {
            self.read_keys(started)?;
        }
        self.last_seen = last;
        self.clean_up(started)
    }

    fn read_keys(&self, started: Instant) -> Result<(), DatabaseAway> {
        let stored = self
            .pool
            .run(Access::Read, started + POLL_TIMEOUT, store::keys)?;
        if let Err(error) = self.keys.replace(stored) {
            tracing::error!(%error, "signing goes on with the keys of before");
        }
        Ok(())
    }

    fn clean_up(&mut self, started: Instant) -> Result<(), DatabaseAway> {
        if started - self.last_cleanup < CLEANUP_INTERVAL {
            return Ok(());
        }
        let more = self
            .pool
            .run(Access::Write, started + POLL_TIMEOUT, store::remove_expired);
        if more != Ok(true) {
            self.last_cleanup = started;
        }
        more.map(drop)
    }
}
