//! Stops, kills and outages: accepted messages are stored once, and answered.

use serde_json::json;
use testbed::{Database, Proxy, Replica, eventually, stable_address};
use tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;

use crate::harness::{Client, End, messager, seqs, web_again, web_at, web_with, worker};

#[test]
fn a_stop_stores_and_shows_what_was_taken_and_tells_clients_to_come_back() {
    let database = Database::new();
    let mut web = web_with(&database, &["--shutdown-timeout=60s"]);
    let mut clients: Vec<_> = (0..5).map(|_| Client::join(&web, "r")).collect();
    eventually("all are in the room", || {
        web.client().metric("chat_web_sockets") == 5
    });
    for client in &mut clients {
        for number in 0..10 {
            client.send("u", &number.to_string());
        }
    }
    // By now the server has read most of their messages.
    for client in &mut clients {
        assert_eq!(client.next()["seq"], 1);
    }
    web.terminate();
    // It has a minute to stop, and the test waits half of that.
    assert!(web.exit_status().success());
    let stored: Vec<u64> = database.rows("SELECT seq FROM messages ORDER BY seq");
    for client in &mut clients {
        let mut seen = vec![1];
        let end = loop {
            match client.receive() {
                Ok(frame) => seen.extend(frame["seq"].as_u64()),
                Err(end) => break end,
            }
        };
        assert_eq!(end, End::Closed(Some(CloseCode::Away)));
        assert_eq!(seen, stored);
    }
}

#[test]
fn whichever_process_is_killed_what_was_shown_stays_and_each_question_is_answered_once() {
    let database = Database::new();
    let address = stable_address();
    let mut processes = [
        web_again(&database, address),
        messager(&database),
        worker(&database),
    ];
    let mut seen = Vec::new();
    let ask = |client: &mut Client, number: usize| {
        let end = ["", "!pow", "!rpc"][number % 3];
        let id = Uuid::new_v4();
        client
            .send_frame(&json!({ "username": "u", "message": format!("{number}{end}"), "id": id }));
        id
    };
    let mut client = Client::join(&processes[0], "r");
    for round in 0..6 {
        let ids: Vec<_> = (0..6).map(|number| ask(&mut client, number)).collect();
        seen.push(client.next());
        processes[round % 3].kill();
        processes[round % 3] = match round % 3 {
            0 => web_again(&database, address),
            1 => messager(&database),
            _ => worker(&database),
        };
        if round % 3 == 0 {
            // The new client resumes after the last message that the one before received, and sends all of the round again.
            let after = seen.len();
            client = Client::open(address, &format!("/chat/ws/7?group_name=r&after={after}"));
            for (number, id) in ids.iter().enumerate() {
                let end = ["", "!pow", "!rpc"][number % 3];
                let text = format!("{number}{end}");
                client.send_frame(&json!({ "username": "u", "message": text, "id": id }));
            }
        }
        let answers = 12 * (round + 1);
        while seen.len() < answers {
            seen.push(client.next());
        }
    }
    let numbers: Vec<_> = (1..=seen.len() as u64).collect();
    assert_eq!(seqs(&seen), numbers);
    let mut shown: Vec<_> = seen
        .iter()
        .map(|frame| (&frame["id"], &frame["kind"]))
        .collect();
    shown.sort_by_key(|shown| format!("{shown:?}"));
    let all = shown.len();
    shown.dedup();
    assert_eq!(shown.len(), all, "nothing is shown twice");
    let left: Vec<u64> =
        database.rows("SELECT (SELECT COUNT(*) FROM jobs) + (SELECT COUNT(*) FROM proofs)");
    assert_eq!(left, [0]);
}

#[test]
fn however_often_connections_to_the_database_are_lost_what_was_taken_is_stored_once() {
    let database = Database::new();
    let proxy: Proxy = database.proxy();
    let web: Replica = web_at(&proxy.url());
    let mut client = Client::join(&web, "r");
    for number in 1..=30 {
        client.send("u", &number.to_string());
        proxy.cut_all();
    }
    let frames = client.up_to(30);
    assert_eq!(seqs(&frames), (1..=30).collect::<Vec<_>>());
    let stored: Vec<_> = frames
        .iter()
        .map(|frame| frame["message"].clone())
        .collect();
    let sent: Vec<_> = (1..=30).map(|number| number.to_string()).collect();
    assert_eq!(stored, sent);
}
