//! The answers of the inner service.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chat::proof::Proof;
use serde_json::Value;
use testbed::{Database, PATIENCE, eventually, program};

use crate::harness::{Client, messager, web, worker};

const MINUTE: Duration = Duration::from_secs(60);

fn verify(frame: &str) -> (Option<i32>, String) {
    let mut command: Command = program("chat").expect("it is built");
    let mut verify = command
        .args(["verify", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut input = verify.stdin.take().expect("it is piped");
    input.write_all(frame.as_bytes()).expect("it reads");
    drop(input);
    let output = verify.wait_with_output().expect("it ends");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn assert_proved(frame: &Value, username: &str, label: &str) {
    assert_eq!(frame["username"], username);
    assert_eq!(frame["kind"], "proof");
    let proof: Proof = serde_json::from_value(frame["proof"].clone()).expect("it shows a proof");
    assert_eq!(proof.verify(), Ok(()));
    let text = frame["message"].as_str().expect("it is text");
    let start = format!(
        "{label} hash:{} elapsed time:",
        const_hex::encode(proof.hash)
    );
    assert!(text.starts_with(&start), "{text}");
    let (status, report) = verify(&frame.to_string());
    assert_eq!(status, Some(0), "{report}");
    let forged = frame.to_string().replace("\"nonce\":", "\"nonce\":1");
    assert_eq!(verify(&forged).0, Some(1));
}

#[test]
fn a_proof_is_shown_after_the_own_line_and_anyone_can_check_it() {
    let database = Database::new();
    let (web, _messager, _worker) = (web(&database), messager(&database), worker(&database));
    let mut client = Client::join(&web, "r");
    for (end, username, label) in [
        ("!pow", "internal_messager", "POW work"),
        ("!rpc", "internal_worker", "POW RPC work"),
    ] {
        client.send("ann", &format!("work{end}"));
        let own = client.next();
        assert_eq!(own["message"], format!("work{end}"));
        let proof = client.next();
        assert_proved(&proof, username, label);
        assert_eq!(proof["id"], own["id"]);
    }
}

#[test]
fn rooms_take_turns_when_several_ask_for_proofs() {
    let database = Database::new();
    let (web, _messager) = (web(&database), messager(&database));
    let (mut many, mut one) = (Client::join(&web, "many"), Client::join(&web, "one"));
    for number in 1..=20 {
        many.send("u", &format!("{number}!pow"));
    }
    many.up_to(20);
    eventually("all of them wait", || {
        database.rows::<u64>("SELECT COUNT(*) FROM proofs") == [20]
    });
    one.send("u", "first!pow");
    one.next();
    eventually("it waits as well", || {
        database.rows::<u64>("SELECT COUNT(*) FROM jobs WHERE queue = 'proofs'") == [2]
    });
    let worker = worker(&database);
    let proof = one.next();
    assert_eq!(proof["kind"], "proof");
    let of_many = many.up_to(40);
    assert_eq!(of_many.len(), 20);
    let order: Vec<_> = of_many
        .iter()
        .map(|frame| frame["proof"]["text"].clone())
        .collect();
    let expected: Vec<_> = (1..=20)
        .map(|number| Value::from(number.to_string()))
        .collect();
    assert_eq!(
        order, expected,
        "a room's proofs come in the order in which they were asked for"
    );
    let [room] = database.rows::<u32>("SELECT id FROM rooms WHERE name = 'one'")[..] else {
        panic!("there is one room of a name");
    };
    let [_of_many, second] = [(); 2].map(|()| worker.wait_for_line("proved room="));
    assert!(
        second.starts_with(&format!("{room} ")),
        "twenty of one room do not hold up another: {second}"
    );
}

#[test]
fn a_question_is_answered_once_by_whichever_of_several_messagers() {
    let database = Database::new();
    let web = web(&database);
    let _messagers = [
        messager(&database),
        messager(&database),
        messager(&database),
    ];
    let mut clients: Vec<_> = (0..5).map(|_| Client::join(&web, "r")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for _ in 0..10 {
            client.send("u", &format!("{number}"));
        }
    }
    let frames = clients[0].up_to(100);
    let of = |kind: &str| frames.iter().filter(|frame| frame["kind"] == kind).count();
    assert_eq!((of("message"), of("answer")), (50, 50));
}

#[test]
fn the_greeting_of_a_minute_is_said_once_by_however_many_processes() {
    let database = Database::new();
    let webs = [web(&database), web(&database), web(&database)];
    let begun = Instant::now();
    let have_greeted = || {
        webs.iter()
            .all(|web| web.client().metric("chat_web_greetings_total") > 0)
    };
    while !have_greeted() {
        assert!(
            begun.elapsed() < MINUTE + PATIENCE,
            "not all of them have greeted"
        );
        database.rows::<u8>("DO SLEEP(0.1)");
    }
    let greetings: Vec<(u64, u64)> = database.rows(
        "SELECT COUNT(*), COUNT(DISTINCT id)
         FROM messages
         WHERE username = 'CronTab' AND text = 'Hello world!'",
    );
    // Two, if the last process was not ready in the first minute.
    assert!(
        greetings == [(1, 1)] || greetings == [(2, 2)],
        "{greetings:?}"
    );
}
