//! The cache: two processes under load, one of which is frozen repeatedly.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Answer, Database, eventually};

use crate::harness::{ADMIN_PASSWORD, Address, Client, Planner, assert_problem};

/// The bound that the README promises.
const MAX_STALENESS: Duration = Duration::from_millis(100);
/// Number of consecutive changes.
const CHANGES: u64 = 1000;
/// How long a process stays frozen: several times the bound.
const FREEZE_TIME: Duration = Duration::from_millis(300);

/// The acknowledged versions, with the time of each acknowledgement.
#[derive(Default)]
struct Timeline(Mutex<Vec<(Instant, u64)>>);

impl Timeline {
    fn add(&self, version: u64) {
        let mut answered = self.0.lock().expect("nobody panics with it");
        answered.push((Instant::now(), version));
    }

    /// The oldest version that a request sent at `asked` may be shown, with this bound of staleness.
    fn min_version(&self, asked: Instant, max_staleness: Duration) -> u64 {
        let answered = self.0.lock().expect("nobody panics with it");
        let is_old_enough = |(at, _): &&(Instant, u64)| *at + max_staleness < asked;
        answered
            .iter()
            .rev()
            .find(is_old_enough)
            .map_or(0, |&(_, version)| version)
    }
}

fn version(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    let tag = answer.header("ETag").expect("a user has one");
    tag.trim_matches('"').parse().expect("a number")
}

/// Reads until `stop` is set; fails if a version is too old.
fn read(
    service: Address,
    path: &str,
    max_staleness: Duration,
    timeline: &Timeline,
    stop: &AtomicBool,
) -> usize {
    let mut client = service.anonymous();
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let min_version = timeline.min_version(asked, max_staleness);
        let shown = version(&client.get(path));
        assert!(
            shown >= min_version,
            "version {shown}, but {min_version} was answered {max_staleness:?} before"
        );
        reads += 1;
    }
    reads
}

fn change(client: &mut Client, path: &str, number: u64) -> u64 {
    version(&client.patch(path, &json!({ "first_name": format!("Ivan{number}") })))
}

#[test]
fn a_change_is_seen_by_the_process_that_made_it_at_once_and_by_the_other_within_the_bound() {
    let database = Database::new();
    let (first, second) = (Planner::users(&database), Planner::users(&database));
    let path = format!("/users/{}", first.admin().create_user("ivan"));
    let (timeline, stop) = (Timeline::default(), AtomicBool::new(false));
    let (writer, follower) = (first.address(), second.address());
    let mut frozen = 0;
    let reads: usize = thread::scope(|scope| {
        let at_once = || read(writer, &path, Duration::ZERO, &timeline, &stop);
        let within = || read(follower, &path, MAX_STALENESS, &timeline, &stop);
        let mut readers = vec![scope.spawn(at_once), scope.spawn(at_once)];
        readers.extend((0..4).map(|_| scope.spawn(within)));
        let changing = scope.spawn(|| {
            let mut admin = writer.admin();
            (0..CHANGES).for_each(|number| timeline.add(change(&mut admin, &path, number)));
        });
        while !changing.is_finished() {
            second.replica.freeze();
            thread::sleep(FREEZE_TIME);
            second.replica.thaw();
            thread::sleep(FREEZE_TIME);
            frozen += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let ends = readers.into_iter();
        ends.map(|reader| reader.join().expect("nothing too old is shown"))
            .sum()
    });
    assert_eq!(
        timeline.min_version(Instant::now(), Duration::ZERO),
        CHANGES + 1
    );
    assert!(frozen >= 2 && reads > 1000, "{reads} reads");
    let hits = "planner_users_cache_lookups_total{result=\"hit\"}";
    assert!(second.metric(hits) > 100, "the cache is of no use");
}

#[test]
fn what_was_not_there_is_found_once_it_is_and_not_once_it_is_deleted() {
    let database = Database::new();
    let (one, other) = (Planner::users(&database), Planner::users(&database));
    let mut admin = one.admin();
    for _ in 0..5 {
        let next = admin.create_user(&uuid::Uuid::new_v4().to_string()) + 1;
        let path = format!("/users/{next}");
        let mut anonymous = other.anonymous();
        assert_problem(&anonymous.get(&path), 404, "no user");
        assert_problem(&anonymous.get(&path), 404, "no user");
        assert_eq!(admin.create_user(&uuid::Uuid::new_v4().to_string()), next);
        assert_eq!(one.anonymous().get(&path).status, 200);
        eventually("the other process shows it", || {
            anonymous.get(&path).status == 200
        });
        assert_eq!(admin.delete(&path).status, 204);
        assert_eq!(one.anonymous().get(&path).status, 404);
        eventually("the other process shows it no more", || {
            anonymous.get(&path).status == 404
        });
    }
}

#[test]
fn users_are_shown_from_memory_and_read_once_for_all_who_wait() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut anonymous = users.anonymous();
    let hits = || users.metric("planner_users_cache_lookups_total{result=\"hit\"}");
    eventually("it is in memory", || {
        assert_eq!(anonymous.get("/user/id-1").status, 200);
        hits() > 0
    });
    let loads = || users.metric("planner_users_cache_loads_total");
    // While a poll for changes is slow, users are read from the database.
    eventually("nearly all are shown from memory", || {
        let (loaded, before) = (loads(), hits());
        (0..100).for_each(|_| assert_eq!(anonymous.get("/user/id-1").status, 200));
        hits() >= before + 90 && loads() <= loaded + 10
    });
}

#[test]
fn without_a_cache_each_request_reads_the_database() {
    let database = Database::new();
    let users = Planner::users_with(&database, &["--cache=off"]);
    let mut anonymous = users.anonymous();
    (0..10).for_each(|_| assert_eq!(anonymous.get("/user/id-1").status, 200));
    assert_eq!(
        users.metric("planner_users_cache_lookups_total{result=\"bypassed\"}"),
        10
    );
    assert_eq!(users.metric("planner_users_cache_entries"), 0);
    users.log_in("admin", ADMIN_PASSWORD);
}
