//! Reads users by their ids: all that wait with one statement, which begins after the last of them has batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundation::http::{Exchange, Problem, Response, answer_all};
use foundation::mysql::{Access, DatabaseAway, Pool};
use foundation::telemetry::Reporter;
use foundation::thread_pool::ThreadPool;
use parking_lot::Mutex;

use crate::ids::UserId;
use crate::users::cache::{CachedUser, UserCache};
use crate::users::store;

/// Most requests that wait: more than any healthy database leaves behind.
const MAX_QUEUED: usize = 16_384;
/// Most requests that one statement answers.
const MAX_BATCH: usize = 1024;
/// Who has less time left is refused: a read ends with the time of the first whose time is over, and others would miss theirs.
const MIN_TIME_LEFT: Duration = Duration::from_millis(50);
/// The database is asked one thing at a time, so a stampede costs no more than one of those who are in it.
const THREADS: usize = 1;

/// What waits to be read, and the thread that reads.
pub struct UserReader {
    shared: Arc<Shared>,
    thread: ThreadPool<()>,
}

struct Shared {
    queue: Mutex<Vec<(UserId, Exchange)>>,
    cache: Arc<UserCache>,
    pool: Pool,
    refusals: Reporter,
}

impl UserReader {
    /// Reads on connections of this pool, and keeps in this cache what it read.
    #[must_use]
    pub fn new(pool: Pool, cache: Arc<UserCache>) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            cache,
            pool,
            refusals: Reporter::default(),
        });
        let reader = Arc::clone(&shared);
        Self {
            shared,
            thread: ThreadPool::new("user reader", THREADS, move |()| reader.read_batch()),
        }
    }

    /// Answers a request for this user as soon as it is read. Does not block.
    pub fn submit(&self, user: UserId, exchange: Exchange) {
        let mut queue = self.shared.queue.lock();
        if queue.len() == MAX_QUEUED {
            drop(queue);
            return self.shared.refuse(exchange);
        }
        queue.push((user, exchange));
        drop(queue);
        self.thread.submit(());
    }

    /// Answers what waits, and ends the thread.
    pub fn finish(self) {
        self.thread.join();
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        self.shared.pool.observe();
    }
}

impl Shared {
    /// Answers all that waits, as far as one statement does. Each request has this called, so the last one finds nothing left.
    fn read_batch(&self) {
        let mut queue = self.queue.lock();
        let count = queue.len().min(MAX_BATCH);
        let batch: Vec<_> = queue.drain(..count).collect();
        drop(queue);
        let min_deadline = Instant::now() + MIN_TIME_LEFT;
        let is_late = |(_, exchange): &(UserId, Exchange)| exchange.deadline() <= min_deadline;
        let (late, in_time): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_late);
        for (_, exchange) in late {
            self.refuse(exchange);
        }
        if !in_time.is_empty() {
            self.answer(in_time);
        }
    }

    fn refuse(&self, exchange: Exchange) {
        let incident = self.refusals.report(|incident| {
            tracing::warn!(instance = %incident, "refusing requests: too many wait for the database, or for too long");
        });
        let detail = "Too many requests wait for the database. Try again a little later.";
        exchange.answer(Problem::new(503, detail).with_incident(incident));
    }

    fn answer(&self, batch: Vec<(UserId, Exchange)>) {
        let deadlines = batch.iter().map(|(_, exchange)| exchange.deadline());
        let deadline = deadlines.min().expect("a batch is not empty");
        let mut users: Vec<_> = batch.iter().map(|&(user, _)| user).collect();
        users.sort_unstable();
        users.dedup();
        self.cache.begin_reading(users.iter().copied());
        let found = self.read(users, deadline).inspect(|found| {
            let found = found.iter().map(|(&user, cached)| (user, cached));
            self.cache.end_reading(found);
        });
        answer_all(batch.into_iter().map(|(user, exchange)| {
            let response: Response = match &found {
                Ok(found) => found[&user].response(exchange.headers("If-None-Match")),
                Err(away) => Problem::from(away.clone()).into(),
            };
            (exchange, response)
        }));
    }

    /// What there is of each of these users, and that there is none of the others.
    fn read(
        &self,
        users: Vec<UserId>,
        deadline: Instant,
    ) -> Result<HashMap<UserId, Arc<CachedUser>>, DatabaseAway> {
        let mut found: HashMap<_, _> = users
            .iter()
            .map(|&user| (user, CachedUser::absent(0)))
            .collect();
        let query = move |connection: &mut _| store::users(connection, &users);
        for user in self.pool.run(Access::Read, deadline, query)? {
            found.insert(user.id, CachedUser::found(&user));
        }
        Ok(found)
    }
}
