//! The database is away, takes no writes, has no space, or a clock that goes back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::Value;
use uuid::Uuid;

use crate::metrics::scrape;
use testbed::{
    Answer, Caller, Database, DatabaseHost, HostStatus, OwnDatabase, Replica, eventually, skip,
};

/// Answers soon, whatever the database does.
const IMPATIENT: [&str; 4] = ["--request-timeout", "500ms", "--database-timeout", "2s"];

#[test]
fn a_server_waits_at_start_for_its_database_and_then_serves() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    server.stop().expect("it stops");
    let mut replica = Replica::spawn(&server.database().url(), &["--startup-timeout", "120s"]);
    replica.wait_for_line("waiting for the database");
    server.start().expect("it starts again");
    replica.wait_until_ready();
    assert_eq!(replica.caller().post("ann", "x").own_seq(), 1);
}

#[test]
fn while_the_database_is_away_callers_are_told_so_and_afterwards_served_without_a_restart() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &IMPATIENT);
    let mut caller = replica.caller();
    assert_eq!(caller.post("ann", "before").own_seq(), 1);
    assert_eq!(caller.get("/messages").status, 200);
    server.stop().expect("it stops");
    let refusal = caller.post("ann", "meanwhile");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert_eq!(refusal.header("Retry-After"), Some("1"));
    assert_eq!(caller.get("/readyz").status, 503);
    assert_eq!(caller.get("/messages").status, 503);
    assert_eq!(caller.get("/healthz").status, 200);
    server.start().expect("it starts again");
    eventually("it is ready", || caller.get("/readyz").status == 200);
    // The connections of before are dead, and none of them is given to a reader.
    assert_eq!(caller.get("/messages").status, 200);
    assert_eq!(caller.post("ann", "after").own_seq(), 2);
    server.database().assert_in_order();
}

#[test]
fn a_database_that_is_read_only_for_a_while_refuses_and_stores_nothing() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &IMPATIENT);
    let mut caller = replica.caller();
    assert_eq!(caller.post("ann", "before").own_seq(), 1);
    let mut root = server.connect().expect("it is up");
    root.query_drop("SET GLOBAL read_only = 1")
        .expect("root may");
    for _ in 0..2 {
        let refusal = caller.post("ann", "meanwhile");
        assert_eq!(refusal.status, 503, "{refusal:?}");
        assert_eq!(caller.get("/readyz").status, 503);
        assert_eq!(caller.get("/messages").messages().len(), 1);
    }
    root.query_drop("SET GLOBAL read_only = 0")
        .expect("root may");
    eventually("it is ready", || caller.get("/readyz").status == 200);
    assert_eq!(caller.post("ann", "after").own_seq(), 2);
    server.database().assert_in_order();
}

#[test]
fn a_message_to_a_database_that_stays_frozen_is_answered_in_bounded_time() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &IMPATIENT);
    let mut caller = replica.caller();
    let key = Uuid::new_v4().to_string();
    assert_eq!(caller.post("ann", "before").own_seq(), 1);
    let process = server.process().expect("it runs");
    process.freeze().expect("it runs");
    let start = Instant::now();
    let answer = caller.post_with_key("ann", "meanwhile", &key);
    let waited = start.elapsed();
    process.thaw().expect("it runs");
    assert!([503, 504].contains(&answer.status), "{answer:?}");
    // The time of the request, and of the attempt that was under way then; the rest is for a loaded machine.
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    assert_eq!(
        caller.post_with_key("ann", "meanwhile", &key).own_seq(),
        2,
        "the database thawed, and took it once"
    );
    server.database().assert_in_order();
}

/// A replica on a database that freezes while four connections for reading are idle, and one for writing.
fn on_a_frozen_database(server: &mut OwnDatabase, options: &[&str]) -> Replica {
    let replica = Replica::start_with(server.database(), options);
    assert_eq!(replica.caller().post("ann", "before").own_seq(), 1);
    let mut holder = server.database().connect();
    holder
        .query_drop("LOCK TABLES messages WRITE")
        .expect("the table is there");
    let mut callers = [(); 4].map(|()| replica.caller());
    for caller in &mut callers {
        caller.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    eventually("four pages are asked for at once", || {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                       WHERE info LIKE 'SELECT seq%' AND info NOT LIKE '%processlist%'";
        holder
            .query_first::<u8, _>(waiting)
            .expect("the list can be read")
            == Some(4)
    });
    drop(holder);
    for caller in &mut callers {
        assert_eq!(caller.receive().status, 200);
    }
    assert_eq!(
        scrape(&replica)[r#"database_connections{pool="reading",state="idle"}"#],
        "4"
    );
    server
        .process()
        .expect("it runs")
        .freeze()
        .expect("it runs");
    replica
}

/// For a loaded machine.
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn readiness_on_a_frozen_database_is_answered_within_two_seconds_however_many_pages_wait() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &["--workers=4"]);
    let mut pages = [(); 12].map(|()| replica.caller());
    for page in &mut pages {
        page.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    let mut callers = [(); 3].map(|()| replica.caller());
    for _ in 0..2 {
        let start = Instant::now();
        for caller in &mut callers {
            caller.send_raw(b"GET /readyz HTTP/1.1\r\nHost: replica\r\n\r\n");
        }
        for caller in &mut callers {
            assert_eq!(caller.receive().status, 503);
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(2), "{waited:?}");
    }
}

#[test]
fn a_page_of_a_frozen_database_is_answered_within_the_time_of_a_request() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &["--request-timeout=2s"]);
    let mut callers = [(); 6].map(|()| replica.caller());
    let start = Instant::now();
    for caller in &mut callers {
        caller.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    }
    for caller in &mut callers {
        assert_eq!(caller.receive().status, 503);
    }
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(2) + SLACK, "{waited:?}");
}

#[test]
fn a_stop_while_the_database_is_frozen_takes_no_longer_than_it_may() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let options = ["--shutdown-timeout=3s", "--request-timeout=1s"];
    let mut replica = on_a_frozen_database(&mut server, &options);
    let mut page = replica.caller();
    page.send_raw(b"GET /messages HTTP/1.1\r\nHost: replica\r\n\r\n");
    // The writer looks after its connection now and then, and hangs on it.
    assert_eq!(page.receive().status, 503);
    assert_eq!(page.get("/readyz").status, 503);
    let start = Instant::now();
    replica.terminate();
    let status = replica.exit_status();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3) + SLACK, "{took:?}");
    assert_eq!(status.code(), Some(0), "{}", replica.log());
}

#[test]
fn a_database_that_thaws_is_read_from_again() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = on_a_frozen_database(&mut server, &["--request-timeout=500ms"]);
    let mut caller = replica.caller();
    for _ in 0..6 {
        assert_eq!(caller.get("/messages").status, 503);
    }
    server.process().expect("it runs").thaw().expect("it runs");
    eventually("it is ready", || caller.get("/readyz").status == 200);
    assert_eq!(caller.get("/messages").own_seq(), 1);
}

/// How often the log says this.
fn lines_with(replica: &Replica, mark: &str) -> usize {
    let log = replica.log();
    log.lines().filter(|line| line.contains(mark)).count()
}

/// All of this is asked for again and again, as long as it fails.
fn refused(caller: &mut Caller) -> Vec<Answer> {
    let answers = vec![
        caller.post("ann", "meanwhile"),
        caller.get("/messages"),
        caller.get("/readyz"),
    ];
    for answer in &answers {
        assert!([503, 504].contains(&answer.status), "{answer:?}");
    }
    answers
}

/// An outage in which much is refused. `end` ends it.
fn assert_that_an_outage_begins_and_ends_in_a_line(replica: &Replica, end: impl FnOnce()) {
    let before = replica.log().lines().count();
    let start = Instant::now();
    // One that finds the queue empty.
    let mut instances = refused(&mut replica.caller());
    let address = replica.address();
    std::thread::scope(|scope| {
        let callers = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut caller = Caller::connect(address);
                let mut answers = Vec::new();
                while start.elapsed() < Duration::from_secs(4) {
                    answers.extend(refused(&mut caller));
                }
                answers
            })
        });
        for caller in callers {
            instances.extend(caller.join().expect("all is refused"));
        }
    });
    assert!(instances.len() > 20, "only {} refusals", instances.len());
    let log = replica.log();
    assert_eq!(log.lines().count() - before, 1, "{log}");
    assert_eq!(lines_with(replica, "the database fails"), 1, "{log}");
    for answer in &instances {
        let problem = answer.json();
        let instance = problem["instance"].as_str().expect("a 503 has one");
        assert!(log.contains(&format!("instance={instance} ")), "{instance}");
    }
    end();
    let mut caller = replica.caller();
    eventually("it is ready", || caller.get("/readyz").status == 200);
    assert_eq!(caller.post("ann", "after").status, 200);
    eventually("the end is logged", || {
        lines_with(replica, "the database works again") == 1
    });
    assert_eq!(lines_with(replica, "the database fails"), 1);
}

/// The queue is full all the time when several callers ask.
const BRIEF: [&str; 2] = ["--request-timeout=300ms", "--queue-messages=1"];

#[test]
fn an_outage_of_the_only_host_is_a_line_when_it_begins_and_one_when_it_ends() {
    let database = Database::new();
    let host = DatabaseHost::new(&database, HostStatus::TakesWrites);
    let replica = Replica::start_at(&host.url(), &BRIEF);
    assert_eq!(replica.caller().post("ann", "before").own_seq(), 1);
    host.set(HostStatus::Away);
    assert_that_an_outage_begins_and_ends_in_a_line(&replica, || host.set(HostStatus::TakesWrites));
}

#[test]
fn an_outage_of_several_hosts_is_a_line_when_it_begins_and_one_when_it_ends() {
    let database = Database::new();
    let hosts = [HostStatus::TakesWrites, HostStatus::ReadOnly]
        .map(|status| DatabaseHost::new(&database, status));
    let urls = hosts.each_ref().map(DatabaseHost::url).join(",");
    let replica = Replica::start_at(&urls, &BRIEF);
    assert_eq!(replica.caller().post("ann", "before").own_seq(), 1);
    hosts[0].set(HostStatus::Away);
    assert_that_an_outage_begins_and_ends_in_a_line(&replica, || {
        hosts[0].set(HostStatus::TakesWrites);
    });
}

#[test]
fn a_database_that_is_away_is_left_alone_while_nobody_asks() {
    let database = Database::new();
    let host = DatabaseHost::new(&database, HostStatus::TakesWrites);
    let replica = Replica::start_at(&host.url(), &BRIEF);
    assert_eq!(replica.caller().post("ann", "before").own_seq(), 1);
    host.set(HostStatus::Away);
    refused(&mut replica.caller());
    let (lines, connects) = (replica.log().lines().count(), host.connects());
    let start = Instant::now();
    eventually("a while is over", || {
        assert_eq!(host.connects(), connects, "nobody asks");
        assert_eq!(replica.log().lines().count(), lines, "{}", replica.log());
        start.elapsed() > Duration::from_secs(3)
    });
}

/// Sets the largest packet of connections that are made from now on, and ends the others.
fn set_max_packet(server: &OwnDatabase, bytes: u32) {
    let mut root = server.connect().expect("it is up");
    let mut run = |statement: String| {
        // A connection may be gone by now.
        let _ = root.query_drop(statement);
    };
    run(format!("SET GLOBAL max_allowed_packet = {bytes}"));
    let others = "SELECT id FROM information_schema.processlist WHERE user = 'dm'";
    let mut connection = server.connect().expect("it is up");
    let others: Vec<u64> = connection.query(others).expect("the list can be read");
    for id in others {
        run(format!("KILL {id}"));
    }
}

#[test]
fn batches_shrink_to_what_the_database_takes() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start(server.database());
    replica.caller().post("ann", "before");
    let mut callers: Vec<Caller> = (0..100).map(|_| replica.caller()).collect();
    for (bytes, text) in [
        (1 << 20, "x".repeat(4000)),
        (36 << 10, "🌍".repeat(4096)),
        // Many short ones, in which the numbers weigh more than the texts.
        (36 << 10, "y".to_owned()),
    ] {
        set_max_packet(&server, bytes);
        for _ in 0..3 {
            for (number, caller) in callers.iter_mut().enumerate() {
                caller.send_post(&format!("user {number}"), &text, "");
            }
            for caller in &mut callers {
                assert_eq!(caller.receive().own()["text"], *text);
            }
        }
    }
    assert_eq!(server.database().count(), 1 + 9 * 100);
    server.database().assert_in_order();
}

#[test]
fn a_batch_that_is_under_way_is_split_for_a_connection_that_takes_less() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start(server.database());
    let database = server.database();
    replica.caller().post("user 5", "has a counter");
    replica.caller().post("ann", "was the last");
    let holder = database.hold_the_lock();
    let mut first = replica.caller();
    first.send_post("first", "waits for the lock", "");
    let writer = database.wait_for_a_writer(None);
    let mut callers: Vec<Caller> = (0..40).map(|_| replica.caller()).collect();
    for (number, caller) in callers.iter_mut().enumerate() {
        caller.send_post(&format!("user {number}"), &"x".repeat(4000), "");
    }
    eventually("all wait for the next batch", || {
        scrape(&replica)["queue_messages"] == "40"
    });
    let mut counter = database.connect();
    counter.query_drop("BEGIN").expect("the connection is up");
    counter
        .query_drop("SELECT messages FROM counters WHERE user = 'user 5' FOR UPDATE")
        .expect("the counter is free");
    counter.query_drop("DO 0").expect("the connection is up");
    drop(holder);
    assert_eq!(first.receive().status, 200);
    eventually("the batch waits", || database.waiting_writers() == [writer]);
    set_max_packet(&server, 64 << 10);
    drop(counter);
    for caller in &mut callers {
        assert_eq!(caller.receive().status, 200);
    }
    assert_eq!(database.count(), 43);
    database.assert_in_order();
    let too_large = r#"batch_failures_total{cause="too_large"}"#;
    assert_ne!(scrape(&replica)[too_large], "0");
}

#[test]
fn a_message_that_cannot_fit_into_a_packet_is_refused_at_once_and_others_are_not() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut caller = replica.caller();
    assert_eq!(caller.post("ann", "before").own_seq(), 1);
    set_max_packet(&server, 16 << 10);
    let refused = caller.post("ann", &"🌍".repeat(4096));
    assert_eq!(refused.status, 413, "{refused:?}");
    let detail = refused.json()["detail"].to_string();
    let bytes: usize = detail
        .split(|sign: char| !sign.is_ascii_digit())
        .find_map(|digits| digits.parse().ok())
        .expect("it says how many bytes are taken");
    let text = "🌍".repeat(bytes / 4);
    assert_eq!(caller.post("ann", &text).own()["text"], text);
    assert_eq!(caller.post("ann", &format!("{text}🌍")).status, 413);
}

#[test]
fn a_database_that_takes_too_small_packets_is_refused_at_start() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    set_max_packet(&server, 35 << 10);
    drop(Replica::start(server.database()));
    set_max_packet(&server, 34 << 10);
    let mut replica = Replica::spawn(&server.database().url(), &[]);
    assert_eq!(replica.exit_status().code(), Some(1));
    let log = replica.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("max_allowed_packet is 34816"), "{last}");
    assert!(last.contains("set it to 35840"), "{last}");
}

/// Where a tmpfs is mounted, until this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(said) if said.status.success() => Some(Self(folder)),
            _ => {
                skip("no tmpfs can be mounted here; it takes root");
                None
            }
        }
    }

    /// Leaves so many bytes. The database takes some meanwhile, and a file is made whole or not at all.
    fn fill(&self, left: u64) {
        let file = self.0.path().join("ballast");
        eventually("the disk is filled", || {
            let length = self.space().saturating_sub(left).to_string();
            let filled = Command::new("fallocate")
                .args(["--length", &length])
                .arg(&file)
                .output();
            let filled = filled.expect("there is a fallocate command");
            filled.status.success()
        });
    }

    fn space(&self) -> u64 {
        let said = Command::new("df")
            .args(["--output=avail", "--block-size=1"])
            .arg(self.0.path())
            .output()
            .expect("there is a df command");
        String::from_utf8_lossy(&said.stdout)
            .lines()
            .last()
            .and_then(|line| line.trim().parse().ok())
            .expect("df prints a number")
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("ballast")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_refuses_messages_and_a_freed_one_takes_them_again() {
    let Some(disk) = SmallDisk::mount(700) else {
        return;
    };
    let folder = tempfile::tempdir_in(disk.0.path()).expect("the disk is empty");
    // MySQL looks only once a minute whether there is space for its binary log again.
    let server = OwnDatabase::start_in(folder, |process| process.option("--skip-log-bin"));
    let Some(server) = server else {
        return;
    };
    let replica = Replica::start_with(server.database(), &IMPATIENT);
    let mut caller = replica.caller();
    let text = "a long text ".repeat(300);
    disk.fill(1 << 20);
    let mut stored = 0;
    eventually("the disk is full", || {
        let answer = caller.post("ann", &text);
        stored += u64::from(answer.status == 200);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status != 200
    });
    assert_eq!(caller.get("/healthz").status, 200);
    disk.free();
    let mut last = 0;
    eventually("messages are stored again", || {
        let answer = caller.post("ann", &text);
        if answer.status == 200 {
            last = answer.own_seq();
        }
        answer.status == 200
    });
    // What was refused may not be there; what is, has its number.
    assert!(last > stored, "{last} after {stored}");
    assert_eq!(server.database().count(), last);
    server.database().assert_in_order();
}

const CLOCK_LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

#[test]
fn dates_do_not_go_back_together_with_the_clock_of_the_database() {
    let library = CLOCK_LIBRARIES.iter().find(|path| Path::new(path).exists());
    let Some(library) = library else {
        skip("libfaketime is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let clock = folder.path().join("clock");
    let set = |offset: &str| fs::write(&clock, offset).expect("the folder is there");
    set("+0");
    let server = OwnDatabase::start_with(|process| {
        process
            .environment("LD_PRELOAD", *library)
            .environment("FAKETIME_TIMESTAMP_FILE", &clock)
            .environment("FAKETIME_NO_CACHE", "1")
            // Time-outs go on as they should.
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    });
    let Some(server) = server else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut caller = replica.caller();
    let sent_at = |message: Value| message["sent_at"].as_str().map(str::to_owned);
    let before = sent_at(caller.post("ann", "before").own());
    set("-1h");
    let now: Vec<String> = server
        .database()
        .rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')");
    assert!(
        now[0] < *before.as_ref().expect("a date"),
        "the clock went back"
    );
    for _ in 0..3 {
        assert_eq!(sent_at(caller.post("ann", "after").own()), before);
    }
    set("+1h");
    assert!(sent_at(caller.post("ann", "later").own()) > before);
    server.database().assert_in_order();
}
