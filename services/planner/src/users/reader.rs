//! Reads users by id, in batches: one statement, begun after the last of them has arrived, answers all queued requests.

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

/// The most queued requests: more than a healthy database leaves in the queue.
const MAX_QUEUED: usize = 16_384;
/// The most requests that one statement answers.
const MAX_BATCH: usize = 1024;
/// A request with less time left is refused, because a batch has the earliest deadline of its requests, and all would miss it.
const MIN_TIME_LEFT: Duration = Duration::from_millis(50);
/// One statement runs at a time, so a cache stampede puts no more load on the database than one request.
const THREADS: usize = 1;

/// The queue of requests, and the thread that reads for them.
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
    /// Reads on connections of this pool, and caches what it read.
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

    /// Queues a request for this user, which is answered once it has been read. Does not block.
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

    /// Answers all queued requests, and stops the thread.
    pub fn finish(self) {
        self.thread.join();
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        self.shared.pool.observe();
    }
}

impl Shared {
    /// Answers a batch of queued requests. Runs once for each request, so it may find the queue empty.
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

    /// An entry for each of these users, also for those that do not exist.
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
