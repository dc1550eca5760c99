//! The database is down, takes no writes, has no space, or a clock that goes back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::Value;

use testbed::{
    Answer, Database, HostStatus, HttpClient, OwnDatabase, Proxy, Replica, eventually, skip,
};

/// Requests are answered soon, whatever the database does.
const SHORT_TIMEOUTS: [&str; 4] = ["--request-timeout", "5s", "--database-timeout", "2s"];

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
    assert_eq!(replica.client().post("ann", "x").own_seq(), 1);
}

#[test]
fn while_the_database_is_down_clients_are_refused_and_afterwards_served_without_a_restart() {
    let Some(mut server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &SHORT_TIMEOUTS);
    let mut client = replica.client();
    assert_eq!(client.post("ann", "before").own_seq(), 1);
    assert_eq!(client.get("/messages").status, 200);
    server.stop().expect("it stops");
    let refusal = client.post("ann", "meanwhile");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert_eq!(refusal.header("Retry-After"), Some("1"));
    assert_eq!(client.get("/readyz").status, 503);
    assert_eq!(client.get("/messages").status, 503);
    assert_eq!(client.get("/healthz").status, 200);
    server.start().expect("it starts again");
    eventually("it is ready", || client.get("/readyz").status == 200);
    // The old connections are dead, and none of them is given to a reader.
    assert_eq!(client.get("/messages").status, 200);
    assert_eq!(client.post("ann", "after").own_seq(), 2);
    server.database().assert_in_order();
}

#[test]
fn pipelined_messages_are_all_answered_at_the_deadline_of_the_first() {
    let database = Database::new();
    let proxy = database.proxy();
    let options = ["--request-timeout", "4s", "--database-timeout", "2s"];
    let replica = Replica::start_at(&proxy.url(), &options);
    proxy.cut_all();
    drop(proxy);
    let mut client = replica.client();
    let begun = Instant::now();
    for number in 0..6 {
        client.send_post("ann", &number.to_string(), "");
    }
    for _ in 0..6 {
        assert_eq!(client.receive().status, 503);
    }
    // One time-out for each would be 24 s.
    assert!(begun.elapsed() < Duration::from_secs(14));
}

#[test]
fn a_database_that_is_read_only_for_a_while_refuses_and_stores_nothing() {
    let Some(server) = OwnDatabase::start() else {
        return;
    };
    let replica = Replica::start_with(server.database(), &SHORT_TIMEOUTS);
    let mut client = replica.client();
    assert_eq!(client.post("ann", "before").own_seq(), 1);
    let mut root = server.connect().expect("it is up");
    root.query_drop("SET GLOBAL read_only = 1")
        .expect("root may");
    for _ in 0..2 {
        let refusal = client.post("ann", "meanwhile");
        assert_eq!(refusal.status, 503, "{refusal:?}");
        assert_eq!(client.get("/readyz").status, 503);
        assert_eq!(client.get("/messages").messages().len(), 1);
    }
    root.query_drop("SET GLOBAL read_only = 0")
        .expect("root may");
    eventually("it is ready", || client.get("/readyz").status == 200);
    assert_eq!(client.post("ann", "after").own_seq(), 2);
    server.database().assert_in_order();
}

/// How many lines of the log contain this.
fn lines_with(replica: &Replica, text: &str) -> usize {
    let log = replica.log();
    log.lines().filter(|line| line.contains(text)).count()
}

/// How many outages have begun, and how many have ended, according to the log.
fn outages(replica: &Replica) -> (usize, usize) {
    (
        lines_with(replica, "the database fails"),
        lines_with(replica, "the database works again"),
    )
}

/// Stores a message, and waits until the log shows no outage. On a loaded machine the first attempts may time out, which counts
/// as one.
fn store_before(replica: &Replica) {
    let mut client = replica.client();
    eventually("it stores", || client.post("ann", "before").status == 200);
    eventually("no outage is under way", || {
        let (begun, ended) = outages(replica);
        begun == ended
    });
}

/// Sends requests of each kind, all of which must be refused, and returns the answers.
fn send_refused(client: &mut HttpClient) -> Vec<Answer> {
    let answers = vec![
        client.post("ann", "meanwhile"),
        client.get("/messages"),
        client.get("/readyz"),
    ];
    for answer in &answers {
        assert!([503, 504].contains(&answer.status), "{answer:?}");
    }
    answers
}

/// Sends many requests during an outage, which `end` ends. All must be refused, and the log must get one line when the outage
/// begins, and one when it ends.
fn assert_an_outage_is_logged_in_two_lines(replica: &Replica, end: impl FnOnce()) {
    let before = replica.log().lines().count();
    let (known, _) = outages(replica);
    let start = Instant::now();
    // The first message finds the queue empty.
    let mut instances = send_refused(&mut replica.client());
    let address = replica.address();
    std::thread::scope(|scope| {
        let clients = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut client = HttpClient::connect(address);
                let mut answers = Vec::new();
                while start.elapsed() < Duration::from_secs(4) {
                    answers.extend(send_refused(&mut client));
                }
                answers
            })
        });
        for client in clients {
            instances.extend(client.join().expect("all is refused"));
        }
    });
    assert!(instances.len() > 20, "only {} refusals", instances.len());
    eventually("the begin is logged", || {
        outages(replica) == (known + 1, known)
    });
    let log = replica.log();
    assert_eq!(log.lines().count() - before, 1, "{log}");
    for answer in &instances {
        let problem = answer.json();
        let instance = problem["instance"].as_str().expect("a 503 has one");
        assert!(log.contains(&format!("instance={instance} ")), "{instance}");
    }
    end();
    let mut client = replica.client();
    eventually("it is ready", || client.get("/readyz").status == 200);
    // The queue of one may hold a message of the outage until the writer's pause is over.
    eventually("it stores", || client.post("ann", "after").status == 200);
    eventually("the end is logged", || {
        outages(replica) == (known + 1, known + 1)
    });
}

/// With several clients, the queue is full all the time.
const QUEUE_OF_ONE: [&str; 2] = ["--request-timeout=2s", "--queue-messages=1"];

#[test]
fn an_outage_of_the_only_host_is_logged_when_it_begins_and_when_it_ends() {
    let database = Database::new();
    let host = database.proxy();
    let replica = Replica::start_at(&host.url(), &QUEUE_OF_ONE);
    store_before(&replica);
    host.set(HostStatus::Away);
    assert_an_outage_is_logged_in_two_lines(&replica, || host.set(HostStatus::TakesWrites));
}

#[test]
fn an_outage_of_several_hosts_is_logged_when_it_begins_and_when_it_ends() {
    let database = Database::new();
    let hosts = [HostStatus::TakesWrites, HostStatus::ReadOnly].map(|status| database.host(status));
    let urls = hosts.each_ref().map(Proxy::url).join(",");
    let replica = Replica::start_at(&urls, &QUEUE_OF_ONE);
    store_before(&replica);
    eventually("the host that takes writes is logged", || {
        lines_with(&replica, "this database host takes writes") > 0
    });
    hosts[0].set(HostStatus::Away);
    assert_an_outage_is_logged_in_two_lines(&replica, || {
        hosts[0].set(HostStatus::TakesWrites);
    });
}

#[test]
fn a_database_that_is_down_gets_no_connections_without_requests() {
    let database = Database::new();
    let host = database.proxy();
    let replica = Replica::start_at(&host.url(), &QUEUE_OF_ONE);
    store_before(&replica);
    host.set(HostStatus::Away);
    let (known, _) = outages(&replica);
    send_refused(&mut replica.client());
    eventually("the outage is logged", || {
        outages(&replica) == (known + 1, known)
    });
    let (lines, connects) = (replica.log().lines().count(), host.connects());
    let start = Instant::now();
    eventually("a while is over", || {
        assert_eq!(host.connects(), connects, "nobody asks");
        assert_eq!(replica.log().lines().count(), lines, "{}", replica.log());
        start.elapsed() > Duration::from_secs(3)
    });
}

/// A folder in which a tmpfs is mounted until this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                skip("no tmpfs can be mounted here; it takes root");
                None
            }
        }
    }

    /// Fills the disk up to `left` bytes. Retries, as the database writes meanwhile, and `fallocate` allocates all or nothing.
    fn fill(&self, left: u64) {
        let file = self.0.path().join("ballast");
        eventually("the disk is filled", || {
            let length = self.free_bytes().saturating_sub(left).to_string();
            let filled = Command::new("fallocate")
                .args(["--length", &length])
                .arg(&file)
                .output();
            let filled = filled.expect("there is a fallocate command");
            filled.status.success()
        });
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("df")
            .args(["--output=avail", "--block-size=1"])
            .arg(self.0.path())
            .output()
            .expect("there is a df command");
        String::from_utf8_lossy(&output.stdout)
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
fn messages_are_refused_while_the_disk_is_full_and_stored_when_it_has_space_again() {
    let Some(disk) = SmallDisk::mount(700) else {
        return;
    };
    let folder = tempfile::tempdir_in(disk.0.path()).expect("the disk is empty");
    // MySQL looks only once a minute whether there is space for its binary log again.
    let server = OwnDatabase::start_in(folder, |process| process.option("--skip-log-bin"));
    let Some(server) = server else {
        return;
    };
    let replica = Replica::start_with(server.database(), &SHORT_TIMEOUTS);
    let mut client = replica.client();
    let text = "a long text ".repeat(300);
    disk.fill(1 << 20);
    let mut stored = 0;
    eventually("the disk is full", || {
        let answer = client.post("ann", &text);
        stored += u64::from(answer.status == 200);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status != 200
    });
    assert_eq!(client.get("/healthz").status, 200);
    disk.free();
    let mut last = 0;
    eventually("messages are stored again", || {
        let answer = client.post("ann", &text);
        if answer.status == 200 {
            last = answer.own_seq();
        }
        answer.status == 200
    });
    // Refused messages may not be stored; each stored one has its number.
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
            // Time-outs use the monotonic clock, which is not changed.
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    });
    let Some(server) = server else {
        return;
    };
    let replica = Replica::start(server.database());
    let mut client = replica.client();
    let sent_at = |message: Value| message["sent_at"].as_str().map(str::to_owned);
    let before = sent_at(client.post("ann", "before").own());
    set("-1h");
    let now: Vec<String> = server
        .database()
        .rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')");
    assert!(
        now[0] < *before.as_ref().expect("a date"),
        "the clock went back"
    );
    for _ in 0..3 {
        assert_eq!(sent_at(client.post("ann", "after").own()), before);
    }
    set("+1h");
    assert!(sent_at(client.post("ann", "later").own()) > before);
    server.database().assert_in_order();
}
