//! Looks again and again at what other processes have changed.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foundation::mysql::{Access, DatabaseAway, Pool};
use parking_lot::{Condvar, Mutex};

use crate::users::cache::UserCache;
use crate::users::signing_keys::SigningKeys;
use crate::users::store::{self, Changes};

/// Between the beginnings of two looks: half of what the cache may be behind, so that one look may be late.
const INTERVAL: Duration = Duration::from_millis(50);
/// A look that takes longer is given up, and tried anew.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two times of removing what nobody needs any more.
const CLEANING_INTERVAL: Duration = Duration::from_secs(600);

/// The thread that looks.
pub struct ChangeFeed {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

struct Follower {
    pool: Pool,
    cache: Arc<UserCache>,
    keys: Arc<SigningKeys>,
    seen: u64,
    cleaned: Instant,
}

impl ChangeFeed {
    /// Starts the thread. `seen` is the number of the last change that is known of.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start(
        pool: Pool,
        cache: Arc<UserCache>,
        keys: Arc<SigningKeys>,
        seen: u64,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let stopped = Arc::clone(&stop);
        let mut follower = Follower {
            pool,
            cache,
            keys,
            seen,
            cleaned: Instant::now(),
        };
        let follow = move || {
            let mut begun = Instant::now();
            loop {
                // It says in the log why it fails; and the cache is not used until it succeeds again.
                let _ = follower.look(begun);
                if stopped.wait_until(begun + INTERVAL) {
                    return;
                }
                begun = Instant::now();
            }
        };
        let thread = std::thread::Builder::new().name("changes".to_owned());
        Ok(Self {
            stop,
            thread: thread.spawn(follow)?,
        })
    }

    /// Ends the thread.
    pub fn finish(self) {
        *self.stop.stopped.lock() = true;
        self.stop.changed.notify_all();
        // Its panic was logged.
        let _ = self.thread.join();
    }
}

impl Stop {
    /// Whether it was stopped until then.
    fn wait_until(&self, moment: Instant) -> bool {
        let mut stopped = self.stopped.lock();
        let goes_on = |stopped: &mut bool| !*stopped;
        self.changed.wait_while_until(&mut stopped, goes_on, moment);
        *stopped
    }
}

impl Follower {
    fn look(&mut self, begun: Instant) -> Result<(), DatabaseAway> {
        let seen = self.seen;
        let query = move |connection: &mut _| store::changes(connection, seen);
        let (last, changes) = self.pool.run(Access::Read, begun + PATIENCE, query)?;
        match changes {
            Changes::These { users, keys } => {
                self.cache.apply(&users, begun);
                if keys {
                    self.read_keys(begun)?;
                }
            }
            Changes::TooMany => {
                self.cache.clear(begun);
                self.read_keys(begun)?;
            }
        }
        self.seen = last;
        self.clean(begun)
    }

    fn read_keys(&self, begun: Instant) -> Result<(), DatabaseAway> {
        let stored = self.pool.run(Access::Read, begun + PATIENCE, store::keys)?;
        if let Err(error) = self.keys.replace(stored) {
            tracing::error!(%error, "signing goes on with the keys of before");
        }
        Ok(())
    }

    fn clean(&mut self, begun: Instant) -> Result<(), DatabaseAway> {
        if begun - self.cleaned < CLEANING_INTERVAL {
            return Ok(());
        }
        let cleaned = self.pool.run(Access::Write, begun + PATIENCE, store::clean);
        if cleaned != Ok(true) {
            self.cleaned = begun;
        }
        cleaned.map(drop)
    }
}
