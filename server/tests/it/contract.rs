//! The wire contract: fields, limits, statuses.

use serde_json::{Value, json};

use testbed::{Answer, Database, Replica, eventually};

fn assert_problem(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(
        answer.status,
        status,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(problem["type"].is_string() && problem["title"].is_string());
    let actual = problem["detail"].as_str().expect("a detail");
    assert!(
        actual.contains(detail),
        "{actual:?} does not contain {detail:?}"
    );
}

#[test]
fn a_reply_shows_what_the_table_holds() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    for (index, user) in ["ann", "bob", "ann", "ann", "cid", "bob"]
        .repeat(2)
        .iter()
        .enumerate()
    {
        let reply = client.post(user, &format!("text {index}"));
        let sql = "SELECT * FROM (
                       SELECT seq, user, user_seq, text, DATE_FORMAT(sent_at, '%Y-%m-%dT%H:%i:%s.%fZ') AS sent_at
                       FROM messages ORDER BY seq DESC LIMIT 10
                   ) AS last ORDER BY seq";
        let rows: Vec<Value> = database
            .rows::<(u64, String, u64, String, String)>(sql)
            .into_iter()
            .map(|(seq, user, user_seq, text, sent_at)| {
                json!({ "seq": seq, "user": user, "user_seq": user_seq, "text": text, "sent_at": sent_at })
            })
            .collect();
        assert_eq!(reply.messages(), rows);
        assert_eq!(reply.own()["text"], format!("text {index}"));
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
    }
    let counters = "SELECT user, messages FROM counters ORDER BY user";
    let expected = [("", 12), ("ann", 6), ("bob", 4), ("cid", 2)]
        .map(|(user, count)| (user.to_owned(), count));
    assert_eq!(database.rows::<(String, u64)>(counters), expected);
    database.assert_in_order();
}

#[test]
fn values_are_accepted_up_to_the_limits_and_refused_beyond_them() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();

    for character in ["a", "é", "\u{20ac}", "\u{1f600}"] {
        assert_eq!(
            client.post(&character.repeat(64), "x").status,
            200,
            "{character}"
        );
        assert_problem(
            &client.post(&character.repeat(65), "x"),
            422,
            "`user` has 65 characters",
        );
        assert_eq!(
            client.post("ann", &character.repeat(4096)).own()["text"],
            character.repeat(4096)
        );
        assert_problem(
            &client.post("ann", &character.repeat(4097)),
            422,
            "`text` has 4097 characters",
        );
    }
    assert_eq!(client.post("a", "b").status, 200);
    assert_problem(&client.post("", "x"), 422, "`user` is empty");
    assert_problem(&client.post("ann", ""), 422, "`text` is empty");
    for user in [
        " ann",
        "ann ",
        "\u{a0}ann",
        "ann\u{3000}",
        "an\tn",
        "an\u{7f}n",
        "an\u{85}n",
        "a\0n",
    ] {
        assert_eq!(client.post(user, "x").status, 422, "{user:?}");
    }
    assert_problem(&client.post("ann", "a\0b"), 422, "NUL");
    assert_eq!(
        client.post("an n", "\u{1}\u{1f}\u{7f}\t\r\n").own()["text"],
        "\u{1}\u{1f}\u{7f}\t\r\n"
    );
    assert_eq!(database.count(), 4 * 2 + 2);
}

#[test]
fn a_body_is_accepted_up_to_64_kib() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let padded = |length: usize| {
        let mut body = br#"{"user":"ann","text":"x"}"#.to_vec();
        body.resize(length, b' ');
        body
    };
    let headers = "Content-Type: application/json\r\n";

    let mut client = replica.client();
    assert_eq!(
        client
            .request("POST", "/messages", headers, &padded(64 << 10))
            .status,
        200
    );
    assert_problem(
        &client.request("POST", "/messages", headers, &padded((64 << 10) + 1)),
        413,
        "65536 bytes",
    );

    for (length, status) in [(64 << 10, 200), ((64 << 10) + 1, 413)] {
        let mut client = replica.client();
        client
            .send_raw(b"POST /messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in padded(length).chunks(1000) {
            client.send_raw(format!("{:x}\r\n", chunk.len()).as_bytes());
            client.send_raw(chunk);
            client.send_raw(b"\r\n");
        }
        client.send_raw(b"0\r\n\r\n");
        assert_eq!(client.receive().status, status, "{length} bytes in chunks");
    }

    let mut client = replica.client();
    client.send_raw(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n\r\n");
    assert_problem(&client.receive(), 413, "65536 bytes");
    let mut client = replica.client();
    client.send_raw(
        b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n",
    );
    assert_problem(&client.receive(), 413, "65536 bytes");
    assert_eq!(replica.client().post("ann", "still here").own_seq(), 3);
}

#[test]
fn every_text_comes_back_as_it_was_sent_and_keeps_users_apart() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    // Each equals another one by case, accent, width, composition, order of marks, ignorable characters, padding.
    let users = [
        "Bob",
        "bob",
        "BOB",
        "bób",
        "bo\u{301}b",
        "ｂｏｂ",
        "b\u{ad}ob",
        "b\u{200b}ob",
        "straße",
        "strasse",
        "ﬁ",
        "fi",
        "q\u{307}\u{323}",
        "q\u{323}\u{307}",
        "\u{1f600}",
        "\u{1f601}",
        "שלום",
        "\u{202e}abc",
        "'",
        "\"",
        "\\",
        "`",
        "--",
        "%",
        "_",
        "\\'",
        "'; DROP TABLE messages; --",
        "日本語",
        "\u{10ffff}",
        "null",
        "{}",
        "a b",
        "a\u{a0}b",
    ];
    let texts: Vec<String> = users
        .iter()
        .map(|user| format!("{user}\n \t\u{1}\u{7f}\u{feff}{user}  "))
        .collect();
    for (user, text) in users.iter().zip(&texts) {
        let own = client.post(user, text).own();
        assert_eq!(
            (own["user"].as_str(), own["text"].as_str()),
            (Some(*user), Some(text.as_str()))
        );
        assert_eq!(own["user_seq"], 1, "{user:?} is taken for somebody else");
    }
    let stored: Vec<(Vec<u8>, Vec<u8>)> = database
        .rows("SELECT CAST(user AS BINARY), CAST(text AS BINARY) FROM messages ORDER BY seq");
    let sent: Vec<_> = users
        .iter()
        .zip(&texts)
        .map(|(user, text)| (user.as_bytes().to_vec(), text.as_bytes().to_vec()))
        .collect();
    assert_eq!(stored, sent);
    database.assert_in_order();
}

#[test]
fn what_is_not_a_message_is_refused_with_a_reason() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    let json = "Content-Type: application/json\r\n";
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"["ann","x"]"#,
        "{}",
        r#"{"user":"ann"}"#,
        r#"{"text":"x"}"#,
        r#"{"user":1,"text":"x"}"#,
        r#"{"user":"ann","text":null}"#,
        r#"{"user":"ann","text":"x"} {}"#,
        r#"{"user":"ann","user":"bob","text":"x"}"#,
        r#"{"user":"\ud800","text":"x"}"#,
        "{\"user\":\"\u{1}\",\"text\":\"x\"}",
    ] {
        let answer = client.request("POST", "/messages", json, body.as_bytes());
        assert_problem(
            &answer,
            400,
            "Send a JSON object with the strings `user` and `text`",
        );
    }
    let invalid_utf8 = b"{\"user\":\"\xff\",\"text\":\"x\"}";
    assert_problem(
        &client.request("POST", "/messages", json, invalid_utf8),
        400,
        "Send a JSON object",
    );

    let body = br#"{"user":"ann","text":"x","more":1}"#;
    for (content_type, status) in [
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("application/problem+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ] {
        let answer = client.request(
            "POST",
            "/messages",
            &format!("Content-Type: {content_type}\r\n"),
            body,
        );
        assert_eq!(answer.status, status, "{content_type:?}");
    }
    assert_eq!(
        client.request("POST", "/messages", "", body).status,
        200,
        "no Content-Type at all"
    );
    for key in [
        "",
        "x",
        "123e4567e89b42d3a456426614174000",
        "{123e4567-e89b-42d3-a456-426614174000}",
        "\"",
        "\"\"",
    ] {
        assert_problem(
            &client.post_with_key("ann", "x", key),
            400,
            "`Idempotency-Key` is not a UUID",
        );
    }
    assert_eq!(database.count(), 4);
}

#[test]
fn unknown_paths_and_methods_are_answered_with_the_known_ones() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    assert_problem(&client.get("/"), 404, "/messages");
    assert_problem(&client.get("/messages/"), 404, "/messages");
    let answer = client.request("PUT", "/messages", "", b"{}");
    assert_problem(&answer, 405, "GET, HEAD, POST");
    assert_eq!(answer.header("Allow"), Some("GET, HEAD, POST"));
    assert_problem(
        &client.request("POST", "/healthz", "", b""),
        405,
        "GET, HEAD",
    );
    assert_eq!(client.get("/healthz").status, 200);
    eventually("it is ready", || client.get("/readyz").status == 200);
    let head = client.request("HEAD", "/healthz", "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn the_history_is_read_in_pages() {
    let database = Database::new();
    let replica = Replica::start(&database);
    let mut client = replica.client();
    assert_eq!(client.get("/messages").messages(), [] as [Value; 0]);
    let last = (0..25)
        .map(|index| client.post("ann", &format!("{index}")))
        .last()
        .expect("25 replies");

    let seqs = |answer: Answer| -> Vec<u64> {
        answer
            .messages()
            .iter()
            .filter_map(|m| m["seq"].as_u64())
            .collect()
    };
    assert_eq!(
        client.get("/messages").messages(),
        last.messages(),
        "the default page shows the same as the last reply"
    );
    assert_eq!(
        seqs(client.get("/messages?limit=100")),
        (1..=25).collect::<Vec<_>>()
    );
    assert_eq!(
        seqs(client.get("/messages?before=16&limit=3")),
        [13, 14, 15]
    );
    assert_eq!(seqs(client.get("/messages?before=%33")), [1, 2]);
    assert_eq!(seqs(client.get("/messages?before=1")), [] as [u64; 0]);
    assert_problem(&client.get("/messages?limit=101"), 422, "1 to 100");
    assert_problem(&client.get("/messages?limit=0"), 422, "1 to 100");
    assert_problem(
        &client.get("/messages?limit=ten"),
        400,
        "`limit` is not a whole number",
    );
    assert_problem(
        &client.get("/messages?after=3"),
        400,
        "expected `before` or `limit`",
    );
}
