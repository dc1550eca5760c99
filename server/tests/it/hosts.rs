//! Several hosts of one database: replicas find the one that takes writes, follow it when it changes, and lose nothing.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use uuid::Uuid;

use testbed::{
    Answer, Database, HostStatus, HttpClient, PATIENCE, Proxy, Replica, SetAtEnd, eventually, skip,
};

fn hosts<const N: usize>(database: &Database, statuses: [HostStatus; N]) -> [Proxy; N] {
    statuses.map(|status| database.host(status))
}

fn urls(hosts: &[Proxy]) -> String {
    hosts.iter().map(Proxy::url).collect::<Vec<_>>().join(",")
}

fn start(hosts: &[Proxy], options: &[&str]) -> Replica {
    let mut replica = Replica::spawn(&urls(hosts), options);
    replica.wait_until_ready();
    replica
}

#[test]
fn the_host_that_takes_writes_is_found_at_any_place_in_the_list() {
    use HostStatus::{Away, ReadOnly, Silent, TakesWrites};
    let database = Database::new();
    let lists = [
        [TakesWrites, ReadOnly, ReadOnly],
        [ReadOnly, TakesWrites, ReadOnly],
        [Away, ReadOnly, TakesWrites],
        [Silent, TakesWrites, Silent],
    ];
    for (round, statuses) in (1..).zip(lists) {
        let hosts = hosts(&database, statuses);
        let replica = start(&hosts, &[]);
        assert_eq!(replica.client().post("ann", "x").own_seq(), round);
        assert_eq!(replica.client().get("/messages").own_seq(), round);
        let mut client = replica.client();
        eventually("it is ready", || client.get("/readyz").status == 200);
        let writable = statuses.iter().position(|&status| status == TakesWrites);
        let address = hosts[writable.expect("one is")].address();
        let found = format!("host=\"{address}\"");
        eventually("the host is logged", || replica.log().contains(&found));
    }
    database.assert_in_order();
}

#[test]
fn a_frozen_host_leaves_the_others_time_however_little_there_is() {
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::Silent, HostStatus::TakesWrites]);
    // Shorter than the head start of the first host.
    let replica = start(&hosts, &["--connect-timeout", "200ms"]);
    assert_eq!(replica.client().post("ann", "x").own_seq(), 1);
}

#[test]
fn a_silent_address_of_a_name_is_followed_by_the_next_one() {
    let database = Database::new();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&free.into()).expect("a port is free");
    // Its accept queue has room for one connection.
    listener.listen(0).expect("it is bound");
    let silent = listener.local_addr().expect("it is bound");
    let silent = silent.as_socket().expect("it has a port");
    let other = SocketAddr::from(([127, 0, 0, 9], silent.port()));
    let host = Proxy::at(other, &database.url()).expect("the port is free");
    let mut queued = Vec::new();
    eventually("the accept queue is full", || {
        let connection = TcpStream::connect_timeout(&silent, Duration::from_millis(100));
        let is_full = connection.is_err();
        queued.extend(connection);
        is_full
    });
    let names = tempfile::tempdir().expect("a folder can be made");
    let hosts = names.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 two.test\n127.0.0.9 two.test\n").expect("the folder is there");
    let with_names = |command: &str| {
        let mut in_own_mounts = Command::new("unshare");
        in_own_mounts
            .args(["--mount", "sh", "-c"])
            .arg(format!("mount --bind \"$0\" /etc/hosts && exec {command}"))
            .arg(&hosts);
        in_own_mounts
    };
    let resolved = with_names("getent ahostsv4 two.test").output();
    if !resolved.is_ok_and(|output| output.stdout.starts_with(b"127.0.0.1 ")) {
        skip("no host names can be defined here; it takes root");
        return;
    }
    let url = host.url().replace("127.0.0.9:", "two.test:");
    let mut replica = Replica::run(
        with_names("\"$1\" --connect-timeout 1s")
            .arg(env!("CARGO_BIN_EXE_server"))
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", url),
    );
    replica.wait_until_ready();
    assert_eq!(replica.client().post("ann", "x").own_seq(), 1);
}

#[test]
fn hosts_may_be_given_one_by_one() {
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::Away, HostStatus::TakesWrites]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--listen", "127.0.0.1:0"]);
    for host in &hosts {
        command.args(["--database-url", &host.url()]);
    }
    let mut replica = Replica::run(&mut command);
    replica.wait_until_ready();
    assert_eq!(replica.client().post("ann", "x").own_seq(), 1);
}

#[test]
fn hosts_of_different_databases_are_refused() {
    let urls = "mysql://u:geheim@127.0.0.1:1/x,mysql://u:geheim@127.0.0.1:2/y";
    let mut replica = Replica::spawn(urls, &[]);
    assert_eq!(replica.exit_status().code(), Some(2));
    assert!(replica.log().contains("must all name the same database"));
    assert!(!replica.log().contains("geheim"), "{}", replica.log());
}

#[test]
fn replicas_follow_when_hosts_swap_roles_under_load_and_lose_and_double_nothing() {
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::TakesWrites, HostStatus::ReadOnly]);
    let replicas = [start(&hosts, &[]), start(&hosts, &[])];
    let done = AtomicBool::new(false);
    let stored = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let at_end = SetAtEnd(&done);
        for number in 0..8 {
            let address = replicas[number % 2].address();
            let (done, stored) = (&done, &stored);
            scope.spawn(move || {
                let mut client = HttpClient::connect(address);
                while !done.load(Ordering::Relaxed) {
                    let key = Uuid::new_v4().to_string();
                    let reply = until_stored(&mut client, &key, &key);
                    assert_eq!(reply.own()["text"], key);
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 1..=6 {
            let before = stored.load(Ordering::Relaxed);
            eventually("messages are stored", || {
                stored.load(Ordering::Relaxed) > before + 50
            });
            let (old, new) = (&hosts[(swap + 1) % 2], &hosts[swap % 2]);
            // The old one is demoted, or dies before there is a new one.
            old.set(match swap % 3 {
                0 => HostStatus::ReadOnly,
                _ => HostStatus::Away,
            });
            new.set(HostStatus::TakesWrites);
        }
        let before = stored.load(Ordering::Relaxed);
        eventually("messages are stored", || {
            stored.load(Ordering::Relaxed) > before + 50
        });
        drop(at_end);
    });
    assert_eq!(database.count(), stored.into_inner() as u64);
    database.assert_in_order();
}

/// Repeats a message with the same key until it is stored, as a client does after 503 and 504.
fn until_stored(client: &mut HttpClient, text: &str, key: &str) -> Answer {
    let mut stored = None;
    eventually("it is stored", || {
        let reply = client.post_with_key("ann", text, key);
        assert!([200, 503, 504].contains(&reply.status), "{reply:?}");
        stored = (reply.status == 200).then_some(reply);
        stored.is_some()
    });
    stored.expect("it was answered")
}

#[test]
fn a_page_is_never_read_from_a_host_that_became_read_only() {
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::TakesWrites, HostStatus::ReadOnly]);
    let replica = start(&hosts, &[]);
    let mut client = replica.client();
    client.post("ann", "x");
    // The pool now has connections to the first.
    assert_eq!(client.get("/messages").own_seq(), 1);
    hosts[0].set(HostStatus::ReadOnly);
    let reply = client.get("/messages");
    assert_eq!(
        (reply.status, reply.header("Retry-After")),
        (503, Some("1"))
    );
    hosts[1].set(HostStatus::TakesWrites);
    eventually("the other host is found", || {
        client.get("/messages").status == 200
    });
}

#[test]
fn while_no_host_takes_writes_clients_are_refused_and_afterwards_served() {
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::TakesWrites, HostStatus::ReadOnly]);
    let replica = start(&hosts, &["--request-timeout", "1s"]);
    let mut client = replica.client();
    for (round, statuses, detail) in [
        (1, [HostStatus::Away, HostStatus::Away], "2 not answering"),
        (
            2,
            [HostStatus::ReadOnly, HostStatus::ReadOnly],
            "2 read-only",
        ),
        (
            3,
            [HostStatus::Away, HostStatus::ReadOnly],
            "1 not answering, 1 read-only",
        ),
    ] {
        let before = until_stored(&mut client, "before", &Uuid::new_v4().to_string());
        assert_eq!(before.own_seq(), 2 * round - 1);
        for (host, status) in hosts.iter().zip(statuses) {
            host.set(status);
        }
        let key = Uuid::new_v4().to_string();
        let refused = client.post_with_key("ann", "under way", &key);
        assert!([503, 504].contains(&refused.status), "{refused:?}");
        let not_ready = client.get("/readyz");
        assert_eq!(not_ready.status, 503);
        let actual = not_ready.json()["detail"]
            .as_str()
            .expect("a text")
            .to_owned();
        assert!(actual.contains(detail), "{detail:?} is not in {actual:?}");
        assert!(!actual.contains("127.0.0.1"), "{actual}");

        hosts[1].set(HostStatus::TakesWrites);
        eventually("the replica is ready", || {
            client.get("/readyz").status == 200
        });
        let repeated = until_stored(&mut client, "under way", &key);
        assert_eq!(repeated.own_seq(), 2 * round);
    }
    assert_eq!(database.count(), 6);
    database.assert_in_order();
}

#[test]
fn replicas_that_lose_all_hosts_at_once_do_not_flood_them_with_connections() {
    const REPLICAS: usize = 12;
    let database = Database::new();
    let hosts = hosts(&database, [HostStatus::TakesWrites, HostStatus::ReadOnly]);
    let replicas: Vec<Replica> = (0..REPLICAS)
        .map(|_| start(&hosts, &["--request-timeout=60s"]))
        .collect();
    let before: usize = hosts[0].connects();
    for host in &hosts {
        host.set(HostStatus::Away);
    }
    let lost = Instant::now();
    let mut clients: Vec<HttpClient> = replicas.iter().map(Replica::client).collect();
    for client in &mut clients {
        // The writer tries to connect, and beside it a reader.
        client.send_post("ann", "x", "");
    }
    for replica in &replicas {
        assert_eq!(replica.client().get("/readyz").status, 503);
    }
    eventually("they have tried for a while", || {
        hosts[0].connects() - before > 6 * REPLICAS
    });
    let (connects, elapsed) = (hosts[0].connects() - before, lost.elapsed());
    // Five in the first second, at most two in each second after it.
    let seconds = usize::try_from(elapsed.as_secs()).expect("they are few") + 1;
    assert!(
        connects <= REPLICAS * (5 + 2 * seconds),
        "{connects} connections in {elapsed:?}"
    );
    hosts[1].set(HostStatus::TakesWrites);
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    assert!(lost.elapsed() < PATIENCE);
    assert_eq!(database.count(), REPLICAS as u64);
    database.assert_in_order();
}
