//! The HTTP edge under loads that break `tiny_http` when it is used alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::metrics::scrape;
use testbed::{Answer, Database, HttpClient, PATIENCE, Replica, eventually};

/// Generous, for a loaded machine. A forgotten connection waits for half of the idle time-out, 30 s, or for ever.
const MAX_BURST: Duration = Duration::from_secs(10);

/// Opens 64 connections at once, sends a message on each, and keeps all open until all are answered.
fn burst(replica: &Replica) -> Duration {
    let address = replica.address();
    let start = Instant::now();
    let mut clients: Vec<HttpClient> = std::thread::scope(|scope| {
        let connecting: Vec<_> = (0..64)
            .map(|_| scope.spawn(move || HttpClient::connect(address)))
            .collect();
        connecting
            .into_iter()
            .map(|thread| thread.join().expect("the server listens"))
            .collect()
    });
    for client in &mut clients {
        client.send_post("ann", "burst", "");
    }
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    start.elapsed()
}

#[test]
fn no_connection_is_forgotten_in_a_hundred_bursts_of_64_that_are_kept_open() {
    let database = Database::new();
    let replica = Replica::start(&database);
    for round in 0..100 {
        let time = burst(&replica);
        assert!(time < MAX_BURST, "round {round} took {time:?}");
    }
    assert_eq!(database.count(), 6400);
}

#[test]
fn no_connection_of_the_first_burst_at_a_new_server_is_forgotten() {
    let database = Database::new();
    // Only a new server has few idle threads, so only its first burst is at risk of being forgotten in part.
    for round in 0..30 {
        let replica = Replica::start(&database);
        let time = burst(&replica);
        assert!(time < MAX_BURST, "round {round} took {time:?}");
    }
}

#[test]
fn a_reply_of_more_than_a_kilobyte_is_not_held_back() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    for index in 0..10 {
        client.post("somebody", &format!("message {index:030}"));
    }
    let mut lower_quartile = |request: &dyn Fn(&mut HttpClient) -> Answer| {
        let mut times: Vec<Duration> = (0..100)
            .map(|_| {
                let start = Instant::now();
                let reply = request(&mut client);
                assert!(reply.body.len() > 1200, "{} bytes", reply.body.len());
                start.elapsed()
            })
            .collect();
        times.sort();
        times[25]
    };
    // Other tests run at the same time and keep processors and disk busy. A delayed acknowledgement costs 40 ms in every
    // series.
    let limit = Duration::from_millis(35);
    eventually(
        "a quarter of the pages of a series come without delay",
        || lower_quartile(&|client| client.get("/messages")) < limit,
    );
    eventually(
        "a quarter of the replies of a series come without delay",
        || lower_quartile(&|client| client.post("somebody", &"x".repeat(38))) < limit,
    );
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let post = |text: &str| {
        let body = format!(r#"{{"user":"ann","text":"{text}"}}"#);
        format!(
            "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for round in 0..50 {
        let mut client = replica.client();
        // The second and the last are answered without the database, so they are ready first.
        let all = [
            post("one"),
            "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            post("two"),
            post("three"),
            "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ];
        client.send_raw(all.concat().as_bytes());
        let answers: Vec<_> = (0..5).map(|_| client.receive()).collect();
        assert_eq!(
            answers
                .iter()
                .map(|answer| answer.status)
                .collect::<Vec<_>>(),
            [200, 200, 200, 200, 404]
        );
        let texts: Vec<_> = [0, 2, 3]
            .iter()
            .map(|&index| answers[index].own()["text"].clone())
            .collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(answers[3].own_seq(), 3 * (round + 1));
    }
}

/// Connects from this local address.
fn connect_from(local: SocketAddr, replica: &Replica) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets left");
    let connected = socket
        .set_reuse_address(true)
        .and_then(|()| socket.bind(&local.into()))
        .and_then(|()| socket.connect(&replica.address().into()));
    connected.expect("the port is free, and the server listens");
    socket
}

#[test]
fn a_new_connection_from_the_address_of_a_lost_one_gets_its_own_answers() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let holder = database.hold_the_lock();
    // An address that no other test uses, so that the port is still free afterwards.
    let lost = connect_from((Ipv4Addr::new(127, 2, 0, 1), 0).into(), &replica);
    let address = lost.local_addr().expect("it is bound");
    let mut lost = HttpClient::on(lost.into()).expect("it is open");
    lost.send_post("ann", "x", "");
    database.wait_for_a_writer(None);
    lost.reset();

    let address = address.as_socket().expect("it is TCP");
    let mut client = HttpClient::on(connect_from(address, &replica).into()).expect("it is open");
    client.send_raw(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /messages HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    // Including the request for the metrics.
    eventually("all three have arrived", || {
        scrape(&replica)["requests_open"] == "4"
    });
    drop(holder);
    eventually(
        "the answer on the lost connection is counted as undelivered",
        || scrape(&replica)["answers_undelivered_total"] != "0",
    );

    client.send_raw(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.receive().json()["status"], "up");
    // The server cannot tell it from a request on the lost connection, so it does not query the database for it.
    let page = client.receive();
    assert_eq!(
        (page.status, page.header("Connection")),
        (503, Some("close"))
    );
    assert_eq!(client.receive().json()["openapi"], "3.1.1");
}

#[test]
fn messages_beyond_a_full_queue_are_refused_at_once_and_not_stored() {
    let database = Database::new();
    let replica = Replica::start_with(
        &database,
        &[
            "--queue-messages=2",
            "--batch-messages=1",
            "--request-timeout=60s",
        ],
    );
    let holder = database.hold_the_lock();
    let mut clients: Vec<HttpClient> = (0..20).map(|_| replica.client()).collect();
    clients[0].send_post("ann", "x", "");
    database.wait_for_a_writer(None);
    for client in &mut clients[1..] {
        client.send_post("ann", "x", "");
    }
    // One is with the writer, and two are queued; all others are refused.
    let mut refused = 0;
    let (sender, receiver) = std::sync::mpsc::channel();
    for mut client in clients {
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(client.receive()));
    }
    while refused < 17 {
        let answer = receiver
            .recv_timeout(PATIENCE)
            .expect("a refusal waits for nothing");
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
        refused += 1;
    }
    drop(holder);
    for _ in 0..3 {
        assert_eq!(
            receiver
                .recv_timeout(PATIENCE)
                .expect("the rest is stored")
                .status,
            200
        );
    }
    assert_eq!(database.count(), 3);
}

/// Sends the head of a request that declares a body of this length, and no body.
fn send_head(client: &mut HttpClient, length: usize) {
    client.send_raw(
        format!("POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
            .as_bytes(),
    );
}

#[test]
fn clients_that_send_no_body_hold_up_neither_others_nor_the_stop() {
    let database = Database::new();
    let mut replica = Replica::start_with(&database, &["--workers", "2"]);
    let mut slow: Vec<HttpClient> = (0..4).map(|_| replica.client()).collect();
    for client in &mut slow {
        send_head(client, 2000);
    }
    let mut refused: Vec<HttpClient> = (0..4).map(|_| replica.client()).collect();
    for client in &mut refused {
        send_head(client, 70_000);
        assert_eq!(client.receive().status, 413);
    }
    let mut client = replica.client();
    eventually("it is ready", || client.get("/readyz").status == 200);
    assert_eq!(client.get("/messages").status, 200);
    assert_eq!(client.post("ann", "x").status, 200);
    replica.terminate();
    assert_eq!(replica.exit_status().code(), Some(0), "{}", replica.log());
}

#[test]
fn bodies_that_arrive_slowly_hold_up_a_long_message_only_for_a_while() {
    let database = Database::new();
    let options = ["--workers", "2", "--request-timeout", "5s"];
    let replica = Replica::start_with(&database, &options);
    let mut slow: Vec<HttpClient> = (0..2).map(|_| replica.client()).collect();
    for client in &mut slow {
        send_head(client, 60_000);
    }
    let ends = Instant::now() + Duration::from_secs(8);
    let trickle = std::thread::spawn(move || {
        while Instant::now() < ends {
            for client in &mut slow {
                client.send_raw(b" ");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        slow
    });
    let long = "x".repeat(4096);
    // Both threads that read bodies wait for the slow clients: there may be no time left for this request, which then gets 503.
    assert!([200, 503].contains(&replica.client().post("ann", &long).status));
    for mut client in trickle.join().expect("the server reads on") {
        let answer = client.receive();
        assert_eq!(answer.status, 400);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("did not come in time"), "{detail}");
    }
    assert_eq!(replica.client().post("ann", &long).status, 200);
}

#[test]
fn a_refusal_of_a_large_body_has_all_its_headers() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let answer = replica
        .client()
        .request("PUT", "/messages", "", &vec![b' '; 70_000]);
    assert_eq!(
        (answer.status, answer.header("Allow")),
        (405, Some("GET, HEAD, POST"))
    );
    let answer = replica
        .client()
        .request("HEAD", "/messages", "", &vec![b' '; 70_000]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[test]
fn many_threads_on_one_replica_get_consecutive_numbers() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let (threads, posts) = (32, 20);
    let barrier = Arc::new(Barrier::new(threads));
    let address = replica.address();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                let mut client = HttpClient::connect(address);
                barrier.wait();
                (0..posts)
                    .map(|_| client.post("ann", "x").own_seq())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut seqs: Vec<u64> = workers
        .into_iter()
        .flat_map(|worker| worker.join().expect("all are answered"))
        .collect();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=threads as u64 * posts));
}
