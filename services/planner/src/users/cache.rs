//! A cache of users, whose staleness is bounded by [`MAX_STALENESS`].
//!
//! Every transaction that changes a user also records the change, under a number that follows the order of the commits. Each
//! process polls these records every 50 ms ([`ChangeFeed`](super::change_feed::ChangeFeed)), and drops entries that are older.
//! The cache is used only while the last poll began less than [`MAX_STALENESS`] ago; otherwise users are read from the database.
//! So the bound holds even if a process was frozen, or the database is slow or lost. The process that changes a user updates its
//! own cache before it answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foundation::http::{Part, Problem, Response};
use foundation::telemetry::Registry;
use moka::sync::Cache;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use crate::error::Error;
use crate::ids::UserId;
use crate::users::user::User;

/// An entry that is shown was current at most this long ago.
pub const MAX_STALENESS: Duration = Duration::from_millis(100);
/// A safety net: an entry is dropped after this time, even if its change was never seen.
const ENTRY_LIFETIME: Duration = Duration::from_secs(60);
/// About 50 MB of users.
const MAX_ENTRIES: u64 = 100_000;
/// The version of a deleted user: no other follows, because ids are not reused.
pub const DELETED: u64 = u64::MAX;

/// Whether users are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CacheMode {
    /// They are cached.
    On,
    /// Each request reads the database, for comparison.
    Off,
}

/// A user as rendered for responses, or the fact that there is none.
pub struct CachedUser {
    version: u64,
    body: Option<Arc<Vec<u8>>>,
}

impl CachedUser {
    /// An entry for this user.
    #[must_use]
    pub fn found(user: &User) -> Arc<Self> {
        let body = serde_json::to_vec(user).expect("a user can be serialized");
        Arc::new(Self {
            version: user.version,
            body: Some(Arc::new(body)),
        })
    }

    /// An entry for a user that does not exist; `version` is 0, or [`DELETED`].
    #[must_use]
    pub fn absent(version: u64) -> Arc<Self> {
        Arc::new(Self {
            version,
            body: None,
        })
    }

    /// The response to a request with these values of `If-None-Match`.
    #[must_use]
    pub fn response<'a>(&self, mut if_none_match: impl Iterator<Item = &'a str>) -> Response {
        let Some(body) = &self.body else {
            return Problem::from(Error::NO_USER).into();
        };
        let etag = User::etag(self.version);
        let response = if if_none_match.any(|tags| matches_weakly(tags, &etag)) {
            Response::empty(304)
        } else {
            let (buffer, range) = (Arc::clone(body), 0..body.len());
            Response::from(Part {
                before: "",
                buffer,
                range,
                after: "",
            })
        };
        response.with_header("ETag", etag)
    }
}

/// Whether an `If-Match` contains this tag or is `*`, by strong comparison (RFC 9110, section 13.1.1).
#[must_use]
pub fn matches_strongly(tags: &str, etag: &str) -> bool {
    tags.split(',').any(|tag| ["*", etag].contains(&tag.trim()))
}

/// Whether an `If-None-Match` contains this tag or is `*`, by weak comparison (RFC 9110, section 13.1.2).
fn matches_weakly(tags: &str, etag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// A recorded change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The user that was changed; `None` for the signing keys.
    pub user: Option<UserId>,
    /// The new version; older ones must not be shown any more.
    pub version: u64,
}

/// The cache of users.
pub struct UserCache {
    mode: CacheMode,
    entries: Cache<UserId, Arc<CachedUser>>,
    /// Users that are being read and have not changed since the read began: only these are cached afterwards. Locked whenever
    /// entries are added or dropped, so that an older entry never replaces a newer one.
    being_read: Mutex<HashSet<UserId>>,
    started: Instant,
    /// When the last poll for changes began, in microseconds after `started`.
    polled_us: AtomicU64,
    metrics: CacheMetrics,
}

impl UserCache {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(mode: CacheMode, registry: &Registry) -> Self {
        let entries = Cache::builder()
            .max_capacity(MAX_ENTRIES)
            .time_to_live(ENTRY_LIFETIME)
            .build();
        Self {
            mode,
            entries,
            being_read: Mutex::default(),
            started: Instant::now(),
            polled_us: AtomicU64::new(0),
            metrics: CacheMetrics::new(registry),
        }
    }

    /// The entry of a user. `None` also if the cache may be too stale, or is off.
    pub fn look_up(&self, user: UserId) -> Option<Arc<CachedUser>> {
        if self.mode == CacheMode::Off || self.staleness() >= MAX_STALENESS {
            self.metrics.bypassed.inc();
            return None;
        }
        let found = self.entries.get(&user);
        let counter = match found {
            Some(_) => &self.metrics.hits,
            None => &self.metrics.misses,
        };
        counter.inc();
        found
    }

    /// Time since the last poll for changes began.
    fn staleness(&self) -> Duration {
        let polled = Duration::from_micros(self.polled_us.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(polled)
    }

    /// Begins a read of these users. One read runs at a time.
    pub fn begin_reading(&self, users: impl Iterator<Item = UserId>) {
        self.metrics.loads.inc();
        *self.being_read.lock() = users.collect();
    }

    /// Caches the users that were read, except those that were changed since the read began.
    pub fn end_reading<'a>(&self, read: impl Iterator<Item = (UserId, &'a Arc<CachedUser>)>) {
        let mut being_read = self.being_read.lock();
        for (user, cached) in read {
            if being_read.remove(&user) && self.mode == CacheMode::On {
                self.entries.insert(user, Arc::clone(cached));
            }
        }
        being_read.clear();
    }

    /// Stores a user that this process changed, unless the entry is newer.
    pub fn put(&self, user: UserId, cached: Arc<CachedUser>) {
        let mut being_read = self.being_read.lock();
        being_read.remove(&user);
        let is_newer = |entry: Arc<CachedUser>| entry.version < cached.version;
        if self.mode == CacheMode::On && self.entries.get(&user).is_none_or(is_newer) {
            self.entries.insert(user, cached);
        }
    }

    /// Drops the entries that are older than these changes, which come from a poll that began at `polled`.
    pub fn apply(&self, changes: &[Change], polled: Instant) {
        let mut being_read = self.being_read.lock();
        for change in changes {
            let Some(user) = change.user else { continue };
            being_read.remove(&user);
            let entry = self.entries.get(&user);
            if entry.is_some_and(|entry| entry.version < change.version) {
                self.entries.invalidate(&user);
            }
        }
        drop(being_read);
        self.set_polled(polled);
    }

    /// Drops all entries, because some changes are not known.
    pub fn clear(&self, polled: Instant) {
        let mut being_read = self.being_read.lock();
        being_read.clear();
        self.entries.invalidate_all();
        drop(being_read);
        self.set_polled(polled);
    }

    fn set_polled(&self, polled: Instant) {
        let elapsed = polled.saturating_duration_since(self.started).as_micros();
        let elapsed_us = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.polled_us.store(elapsed_us, Ordering::Release);
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let staleness = self.staleness().as_millis();
        self.metrics
            .behind_ms
            .set(i64::try_from(staleness).unwrap_or(i64::MAX));
        let entries = self.entries.entry_count();
        self.metrics.entries.set(entries.cast_signed());
    }
}

struct CacheMetrics {
    /// Lookups that found an entry.
    hits: IntCounter,
    /// Lookups that found no entry.
    misses: IntCounter,
    /// Lookups without the cache, because it might be too stale or is off.
    bypassed: IntCounter,
    /// Statements that read users.
    loads: IntCounter,
    /// The current bound of staleness, in milliseconds.
    behind_ms: IntGauge,
    /// Number of entries.
    entries: IntGauge,
}

impl CacheMetrics {
    fn new(registry: &Registry) -> Self {
        let lookups = registry.counters(
            "cache_lookups_total",
            "Lookups of users: in the cache (hit), not in it (miss), or without it, as it may be too stale or is off (bypassed)",
            &["result"],
        );
        Self {
            hits: lookups.with_label_values(&["hit"]),
            misses: lookups.with_label_values(&["miss"]),
            bypassed: lookups.with_label_values(&["bypassed"]),
            loads: registry.counter(
                "cache_loads_total",
                "Statements that read users; one answers all queued requests",
            ),
            behind_ms: registry.gauge(
                "cache_behind_milliseconds",
                "How stale the cache may be now: the time since the last poll for changes began. Beyond the bound the cache is \
                 bypassed",
            ),
            entries: registry.gauge("cache_entries", "Users in the cache, about"),
        }
    }
}

#[cfg(test)]
mod tests {
    use foundation::telemetry::Program;

    use super::*;

    const ID: UserId = UserId(7);

    fn cache() -> UserCache {
        let registry = Registry::new(Program::new("test", ""));
        let cache = UserCache::new(CacheMode::On, &registry);
        cache.apply(&[], Instant::now());
        cache
    }

    fn cached(version: u64) -> Arc<CachedUser> {
        Arc::new(CachedUser {
            version,
            body: Some(Arc::default()),
        })
    }

    fn version(cache: &UserCache) -> Option<u64> {
        cache.apply(&[], Instant::now());
        cache.look_up(ID).map(|cached| cached.version)
    }

    fn read(cache: &UserCache, version: u64, meanwhile: impl FnOnce()) {
        cache.begin_reading([ID].into_iter());
        meanwhile();
        cache.end_reading([(ID, &cached(version))].into_iter());
    }

    fn changed(version: u64) -> [Change; 1] {
        let user = Some(ID);
        [Change { user, version }]
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_whoever_made_it() {
        let cache = cache();
        read(&cache, 1, || cache.apply(&changed(2), Instant::now()));
        assert_eq!(version(&cache), None);
        read(&cache, 1, || cache.put(ID, cached(2)));
        assert_eq!(version(&cache), Some(2));
        read(&cache, 2, || cache.clear(Instant::now()));
        assert_eq!(version(&cache), None);
        read(&cache, 2, || ());
        assert_eq!(version(&cache), Some(2));
    }

    #[test]
    fn a_change_drops_what_is_older_and_nothing_else() {
        let cache = cache();
        cache.put(ID, cached(3));
        cache.apply(&changed(3), Instant::now());
        assert_eq!(version(&cache), Some(3));
        cache.apply(&changed(4), Instant::now());
        assert_eq!(version(&cache), None);
    }

    #[test]
    fn of_two_changes_of_one_process_the_newer_stays() {
        let cache = cache();
        cache.put(ID, cached(3));
        cache.put(ID, cached(2));
        assert_eq!(version(&cache), Some(3));
        cache.put(ID, CachedUser::absent(DELETED));
        cache.put(ID, cached(4));
        assert_eq!(version(&cache), Some(DELETED));
    }

    #[test]
    fn nothing_is_shown_once_the_last_look_is_older_than_the_bound() {
        let cache = cache();
        cache.put(ID, cached(1));
        let ago = |time| {
            Instant::now()
                .checked_sub(time)
                .expect("the clock began long ago")
        };
        cache.apply(&[], Instant::now());
        assert!(cache.look_up(ID).is_some());
        // Earlier, so that polls can lie in the past.
        let cache = UserCache {
            started: ago(Duration::from_secs(9)),
            ..cache
        };
        cache.apply(&[], ago(MAX_STALENESS));
        assert!(cache.look_up(ID).is_none());
        cache.apply(&[], Instant::now());
        assert!(cache.look_up(ID).is_some());
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list_and_in_a_star() {
        for (tags, found) in [
            ("\"3\"", true),
            ("\"1\", \"3\"", true),
            ("*", true),
            ("\"33\"", false),
            ("3", false),
            ("", false),
        ] {
            assert_eq!(matches_weakly(tags, "\"3\""), found, "{tags}");
            assert_eq!(matches_strongly(tags, "\"3\""), found, "{tags}");
        }
        let weak = "\"1\", W/\"3\"";
        assert!(matches_weakly(weak, "\"3\"") && !matches_strongly(weak, "\"3\""));
    }
}
