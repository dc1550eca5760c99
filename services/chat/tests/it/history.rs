//! History, for clients that read it slowly or not at all, and for other clients meanwhile.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use testbed::{Database, Replica};
use tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::{Client, End, seqs, web, web_at};

/// Messages of the room, of 12,000 bytes each: more than the kernel buffers for a client that does not read.
const MESSAGES: u64 = 400;
/// Clients that do not read: more than there are threads that read history.
const STALLED: usize = 30;

fn fill(database: &Database) {
    database.rows::<u8>(&format!(
        "INSERT INTO rooms (name, last_seq) VALUES ('long', {MESSAGES})"
    ));
    database.rows::<u8>(&format!(
        "INSERT INTO messages (room_id, seq, id, kind, username, text, sent_at)
         WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {MESSAGES})
         SELECT rooms.id, n, UNHEX(LPAD(HEX(n), 32, '0')), 'message', 'w', REPEAT('€', 4000), UTC_TIMESTAMP(6)
         FROM numbers, rooms
         WHERE rooms.name = 'long'"
    ));
}

/// Opens a client that requests the history of the room, and reads only its beginning.
fn open_stalled(web: &Replica) -> Client {
    let mut client = Client::open(web.address(), "/chat/ws/1?group_name=long&after=0");
    let stream = client.stream();
    socket2::SockRef::from(&*stream)
        .set_recv_buffer_size(4096)
        .expect("it is open");
    stream.read_exact(&mut [0; 64]).expect("it writes");
    client
}

#[test]
fn who_does_not_read_its_history_holds_up_neither_who_enters_nor_a_stop() {
    const SOON: Duration = Duration::from_secs(3);
    let database = Database::new();
    let mut web = web(&database);
    fill(&database);
    let stalled: Vec<_> = (0..STALLED).map(|_| open_stalled(&web)).collect();
    let begun = Instant::now();
    let mut client = Client::join(&web, "other");
    client.send("u", "hi");
    assert_eq!(client.line().1, "hi");
    let mut reader = Client::open(web.address(), "/chat/ws/2?group_name=long&after=0");
    let all: Vec<_> = (1..=MESSAGES).collect();
    assert_eq!(seqs(&reader.up_to(MESSAGES)), all);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let begun = Instant::now();
    web.terminate();
    for client in [&mut client, &mut reader] {
        assert_eq!(client.end(), End::Closed(Some(CloseCode::Away)));
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(web.exit_status().success());
    drop(stalled);
}

#[test]
fn who_reads_its_history_with_pauses_gets_all_of_it_and_what_is_new() {
    let database = Database::new();
    let web = web(&database);
    fill(&database);
    let mut slow = Client::open(web.address(), "/chat/ws/1?group_name=long&after=0");
    let mut other = Client::open(web.address(), "/chat/ws/2?group_name=long&after=400");
    let mut seen = Vec::new();
    while seen.len() < 400 {
        if seen.len() % 50 == 0 {
            std::thread::sleep(Duration::from_millis(200));
            other.send("u", "new");
        }
        seen.push(slow.next());
    }
    seen.extend(slow.up_to(MESSAGES + 8));
    assert_eq!(seqs(&seen), (1..=MESSAGES + 8).collect::<Vec<_>>());
    assert_eq!(seqs(&other.up_to(MESSAGES + 8)).len(), 8);
}

#[test]
fn who_takes_too_long_to_read_its_history_is_closed() {
    let database = Database::new();
    let web = web(&database);
    fill(&database);
    let mut stream: TcpStream = open_stalled(&web).stream().try_clone().expect("it is open");
    std::thread::sleep(Duration::from_secs(14));
    let mut received = Vec::new();
    let _cut = stream.read_to_end(&mut received);
    assert!(received.len() < 12_000 * 100, "{}", received.len());
    assert_eq!(web.client().metric("chat_web_sockets"), 0);
}

#[test]
fn who_enters_while_the_database_is_away_is_told_so() {
    let database = Database::new();
    let proxy = database.proxy();
    let web = web_at(&proxy.url());
    proxy.cut_all();
    drop(proxy);
    let mut client = Client::join(&web, "r");
    let mut sent = Vec::new();
    client.stream().read_to_end(&mut sent).expect("it is ended");
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("The database does not answer."), "{sent}");
}

#[test]
fn what_is_sent_before_a_room_is_found_keeps_nobody_s_messages_from_being_stored() {
    let database = Database::new();
    let web = web(&database);
    let mut known = Client::join(&web, "r");
    known.send("u", "before");
    known.up_to(1);
    let mut lock = database.connect();
    // With this lock, a new room is not created in time.
    lock.query_drop("LOCK TABLES rooms WRITE")
        .expect("it is there");
    let mut early = Client::join(&web, "new");
    early.send("u", "early");
    let received = early.receive();
    lock.query_drop("UNLOCK TABLES").expect("they are locked");
    let refused = received.expect("it is told before it is closed");
    assert_eq!(refused["again"], true, "{refused}");
    known.send("u", "later");
    assert_eq!(known.next()["message"], "later");
}
