//! All clients in a room see its messages once and in order, whichever process they are connected to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use serde_json::json;
use testbed::{Database, eventually};
use tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;

use crate::harness::{Client, End, messager, seqs, store_lines, web, web_with};

/// How long to wait for a frame that must not come.
const SILENCE: Duration = Duration::from_millis(400);

#[test]
fn a_line_is_seen_by_its_sender_and_by_all_of_its_room_on_whatever_process_and_by_no_other() {
    let database = Database::new();
    let (one, two) = (web(&database), web(&database));
    let mut sender = Client::join(&one, "r");
    let mut near = Client::join(&one, "r");
    let mut far = Client::join(&two, "r");
    let mut other = Client::join(&two, "R");
    sender.send("ann", "<b>hi</b> привет");
    for client in [&mut sender, &mut near, &mut far] {
        let frame = client.next();
        assert_eq!(frame["username"], "ann");
        assert_eq!(frame["message"], "<b>hi</b> привет");
        assert_eq!(frame["seq"], 1);
        assert_eq!(frame["group_name"], "r");
        assert_eq!(frame["kind"], "message");
        assert!(
            frame["id"].is_string() && frame["sent_at"].is_string(),
            "{frame}"
        );
        assert!(frame.get("proof").is_none());
    }
    other.assert_silent(SILENCE);
}

#[test]
fn numbers_have_no_hole_and_one_order_whoever_writes_through_whatever_process() {
    const EACH: usize = 30;
    let database = Database::new();
    // A long timeout, so that no connection to a slow database is given up.
    let webs = [(); 3].map(|()| web_with(&database, &["--database-timeout=60s"]));
    let last = (EACH * webs.len()) as u64;
    let writers = webs.iter().map(|web| {
        // With `after=0`, a client that enters after others have begun to write gets all messages as well.
        let mut client = Client::open(web.address(), "/chat/ws/7?group_name=r&after=0");
        move || {
            for number in 0..EACH {
                client.send("w", &number.to_string());
            }
            client.up_to(last)
        }
    });
    let writers: Vec<_> = writers.collect();
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .into_iter()
            .map(|writer| scope.spawn(writer))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join();
        let seen: Result<Vec<_>, _> = threads.into_iter().map(join).collect();
        seen.expect("no writer fails")
    });
    let numbers: Vec<u64> = (1..=last).collect();
    for frames in &seen {
        assert_eq!(seqs(frames), numbers);
        assert_eq!(frames, &seen[0], "all see the same");
    }
    // If two processes used the same number, the database would refuse one of them, and this would be retried.
    let failed = "chat_web_database_connections_lost_total{pool=\"chat\"}";
    for web in &webs {
        assert_eq!(web.client().metric(failed), 0, "they wait for each other");
    }
}

#[test]
fn who_comes_later_gets_the_last_fifty_and_who_comes_back_what_was_missed() {
    let database = Database::new();
    let web = web(&database);
    // One client may send only forty at once.
    let (mut client, mut other) = (Client::join(&web, "r"), Client::join(&web, "r"));
    for number in 1..=30 {
        client.send("u", "one");
        other.send("u", "other");
        client.up_to(2 * number);
    }
    let mut late = Client::join(&web, "r");
    assert_eq!(seqs(&late.up_to(60)), (11..=60).collect::<Vec<_>>());
    let mut back = Client::open(web.address(), "/chat/ws/8?group_name=r&after=57");
    assert_eq!(seqs(&back.up_to(60)), [58, 59, 60]);
    let mut whole = Client::open(web.address(), "/chat/ws/8?group_name=r&after=0");
    assert_eq!(seqs(&whole.up_to(60)), (1..=60).collect::<Vec<_>>());
    // A number above the last one, as a client may have from another database.
    let mut ahead = Client::open(web.address(), "/chat/ws/8?group_name=r&after=999");
    eventually("all are in the room", || {
        web.client().metric("chat_web_sockets") == 6
    });
    client.send("u", "new");
    for client in [&mut late, &mut back, &mut whole, &mut ahead] {
        assert_eq!(client.next()["seq"], 61);
    }
}

#[test]
fn who_reads_nothing_for_a_moment_gets_all_that_was_said_meanwhile_or_is_told_to_resume() {
    /// Messages that are shown at once: fewer bytes than are buffered for a client.
    const LINES: u64 = 18;
    /// How often messages are shown before the client reads on: in the end more than the server and the kernel buffer.
    const TIMES: [u64; 4] = [1, 1, 1, 4];
    let database = Database::new();
    let web = web(&database);
    let mut pauses = Client::open_narrow(web.address(), "/chat/ws/8?group_name=r");
    let mut reads = Client::join(&web, "r");
    eventually("both are in the room", || {
        web.client().metric("chat_web_sockets") == 2
    });
    let text = "€".repeat(4000);
    let mut first = 1;
    for times in TIMES {
        let last = first + times * LINES;
        for lines in (0..times).map(|time| first + time * LINES) {
            store_lines(&database, "r", lines..=lines + LINES - 1, &text);
            reads.up_to(lines + LINES - 1);
        }
        // Once a client has received it, all messages before it have been sent.
        store_lines(&database, "r", last..=last, "x");
        reads.up_to(last);
        let (mut seen, mut end) = (Vec::new(), None);
        while seen.last() != Some(&last) && end.is_none() {
            match pauses.receive() {
                Ok(frame) => seen.extend(frame["seq"].as_u64()),
                Err(ended) => end = Some(ended),
            }
        }
        let without_hole: Vec<_> = (first..).take(seen.len()).collect();
        assert_eq!(seen, without_hole);
        // The connection is cut if the client does not read the close frame in time.
        let expected = [End::Closed(Some(CloseCode::Again)), End::Lost];
        let too_slow = |end| times > 1 && expected.contains(&end);
        assert!(end.is_none_or(too_slow), "after {seen:?}");
        first = last + 1;
    }
}

#[test]
fn who_enters_while_others_write_misses_nothing_and_gets_nothing_twice() {
    const WRITERS: usize = 10;
    const READERS: usize = 8;
    /// How often each reader enters.
    const TIMES: usize = 100;
    /// More than the history that a reader gets, so that some are new messages.
    const FRAMES: usize = 60;
    let database = Database::new();
    let (one, two) = (web(&database), web(&database));
    let over = AtomicBool::new(false);
    let address = two.address();
    let write = |mut writer: Client, name: String| {
        while !over.load(Ordering::Relaxed) {
            writer.send(&name, "x");
            while writer.line().0 != name {}
            // Stays below the rate limit of a socket.
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let read = || {
        for _ in 0..TIMES {
            let mut reader = Client::open(address, "/chat/ws/8?group_name=r");
            let frames: Vec<_> = (0..FRAMES).map(|_| reader.next()).collect();
            let seen = seqs(&frames);
            let without_hole: Vec<_> = (seen[0]..).take(FRAMES).collect();
            assert_eq!(seen, without_hole);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (writer, write) = (Client::join(&one, "r"), &write);
            scope.spawn(move || write(writer, format!("w{number}")));
        }
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let ended: Vec<_> = readers.into_iter().map(ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
}

#[test]
fn a_message_that_is_sent_again_is_stored_once_and_another_with_its_id_is_refused() {
    let database = Database::new();
    let (one, two) = (web(&database), web(&database));
    let (mut here, mut there) = (Client::join(&one, "r"), Client::join(&two, "r"));
    let id = Uuid::new_v4();
    let frame = json!({ "username": "u", "message": "hi", "id": id });
    here.send_frame(&frame);
    assert_eq!(here.next()["id"], id.to_string());
    assert_eq!(there.next()["seq"], 1);
    there.send_frame(&frame);
    here.send_frame(&json!({ "username": "u", "message": "other", "id": id }));
    assert!(
        here.next()["error"]
            .as_str()
            .is_some_and(|error| error.contains("`id`"))
    );
    here.send("u", "next");
    assert_eq!(
        (here.next()["seq"].as_u64(), there.next()["seq"].as_u64()),
        (Some(2), Some(2))
    );
    // In another room, the same id names another message.
    let mut elsewhere = Client::join(&one, "elsewhere");
    elsewhere.send_frame(&frame);
    assert_eq!(elsewhere.next()["seq"], 1);
}

#[test]
fn who_leaves_is_said_to_have_left_whether_in_the_way_of_the_protocol_or_not() {
    let database = Database::new();
    let web = web(&database);
    let mut stays = Client::join(&web, "r");
    Client::open(web.address(), "/chat/ws/41?group_name=r").leave();
    assert_eq!(
        stays.line(),
        ("user #41".to_owned(), "left the chat".to_owned())
    );
    drop(Client::open(web.address(), "/chat/ws/42?group_name=r"));
    let frame = stays.next();
    assert_eq!(frame["username"], "user #42");
    assert_eq!(frame["kind"], "notice");
}

#[test]
fn a_frame_that_is_not_understood_is_refused_and_the_socket_stays() {
    let database = Database::new();
    let web = web(&database);
    let mut client = Client::join(&web, "r");
    for frame in [
        "",
        "hi",
        "[]",
        "{}",
        r#"{"username":"u"}"#,
        r#"{"username":"u","message":" "}"#,
    ] {
        client.send_raw(frame);
        assert!(client.next()["error"].is_string(), "{frame}");
    }
    client.send_message(tungstenite::Message::binary(&b"{}"[..]));
    assert!(client.next()["error"].is_string());
    client.send("u", "hi");
    assert_eq!(client.line(), ("u".to_owned(), "hi".to_owned()));
}

#[test]
fn a_first_client_that_reads_and_writes_two_members_sees_its_line_and_the_answer() {
    let database = Database::new();
    let (web, _messager) = (web(&database), messager(&database));
    let mut client = Client::open(web.address(), "/chat/ws/1716400000000?group_name=MyChat");
    client.send("ann", "привет👨\u{200d}👩\u{200d}👧");
    let lines: Vec<_> = std::iter::repeat_with(|| client.line())
        .filter(|(username, _)| username != "CronTab")
        .take(2)
        .collect();
    assert_eq!(lines[0].0, "ann");
    let answer = (
        "internal_messager".to_owned(),
        "👨\u{200d}👩\u{200d}👧тевирп".to_owned(),
    );
    assert_eq!(lines[1], answer);
}
