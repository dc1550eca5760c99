//! The cases, most of them made from tables: what is sent, how, and what must come back.

/// One connection: what is sent on it, and what must come back first.
pub(super) struct Case {
    pub(super) name: String,
    /// Each is written by itself.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) ending: Ending,
    pub(super) expected: Expected,
}

/// What the caller does when all is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Waits.
    Open,
    HalfClosed,
    /// Goes away without a look at the answer.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Strange, but taken, with this status.
    Taken(u16),
    /// Refused by the contract.
    Problem(u16),
    /// Refused by `tiny_http` itself, without a body.
    Empty(u16),
    /// Closed without a word.
    Closed,
    /// One of the three above.
    Refused,
}

use Ending::{HalfClosed, Open};
use Expected::{Closed, Empty, Problem, Refused, Taken};

impl Case {
    fn new(what: &str, shown: &[u8], bytes: &[u8], ending: Ending, expected: Expected) -> Self {
        let start: String = shown.escape_ascii().take(80).map(char::from).collect();
        Self {
            name: format!("{what} {start} ({} bytes, {ending:?})", shown.len()),
            pieces: vec![bytes.to_vec()],
            ending,
            expected,
        }
    }

    /// In pieces of this length.
    fn split(mut self, length: usize) -> Self {
        self.name.push_str(" in pieces");
        let bytes = self.pieces.concat();
        self.pieces = bytes.chunks(length).map(<[u8]>::to_vec).collect();
        self
    }

    /// Whether a message is stored.
    pub(super) fn stores(&self) -> bool {
        self.expected == Taken(200) && self.pieces.concat().starts_with(b"POST")
    }
}

pub(super) fn all() -> Vec<Case> {
    [
        bodies(),
        request_lines(),
        headers(),
        framings(),
        lengths(),
        chunks(),
        hosts(),
        queries(),
        other_protocols(),
        cut_off(),
        corrupted(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Lines that are expected to be answered alike. `~` and two hexadecimal digits stand for a byte, `~` alone for nothing.
type Table = [(Expected, &'static str)];

fn each(table: &Table) -> impl Iterator<Item = (Expected, Vec<u8>)> {
    table.iter().flat_map(|&(expected, lines)| {
        let lines = lines.lines().map(str::trim_start);
        lines
            .filter(|line| !line.is_empty())
            .map(move |line| (expected, unescape(line)))
    })
}

fn unescape(line: &str) -> Vec<u8> {
    let mut parts = line.split('~');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).map(|hex| u8::from_str_radix(hex, 16));
        bytes.extend(byte.map(|byte| byte.expect("two hexadecimal digits")));
        bytes.extend(part.bytes().skip(2));
    }
    bytes
}

const GOOD: &str = r#"{"user":"mallory","text":"x"}"#;

fn post(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let head = b"POST /messages HTTP/1.1\r\nHost: x\r\n";
    [head, headers, b"\r\n", body].concat()
}

fn with_length(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    post(&[length.as_bytes(), headers].concat(), body)
}

const BODIES: &Table = &[
    (
        Problem(400),
        r#"
        ~
        ~20
        ~0d~0a
        {
        }
        []
        {}
        null
        nul
        true
        1
        ""
        {"user"
        {"user":
        {"user":"mallory"
        {"user":"mallory",
        {"user":"mallory","text":"x"
        {"user":"mallory","text":"x}
        {"user":"mallory","text":"x",}
        {"user":"mallory" "text":"x"}
        {{"user":"mallory","text":"x"}}
        {"user":"mallory","text":"x"} {}
        {"user":"mallory","text":"x"}~00
        {"user":"mallory","text":"x"}//
        /**/{"user":"mallory","text":"x"}
        ["mallory","x"]
        [{"user":"mallory","text":"x"}]
        "{\"user\":\"mallory\",\"text\":\"x\"}"
        {'user':'mallory','text':'x'}
        {user:"mallory",text:"x"}
        {"User":"mallory","Text":"x"}
        {"user\u0000":"mallory","text":"x"}
        {"user":"mallory","user":"mallory","text":"x"}
        {"user":"mallory","text":"x","text":"y"}
        {"user":"mallory","text":"x","\u0074ext":"x"}
        user=mallory&text=x
        <user>mallory</user><text>x</text>
        {"user":"mallory"}
        {"text":"x"}
        {"user":null,"text":"x"}
        {"user":true,"text":"x"}
        {"user":1,"text":"x"}
        {"user":{},"text":"x"}
        {"user":["mallory"],"text":"x"}
        {"user":mallory,"text":"x"}
        {"user":"mallory","text":null}
        {"user":"mallory","text":false}
        {"user":"mallory","text":-0}
        {"user":"mallory","text":1e999999}
        {"user":"mallory","text":NaN}
        {"user":"mallory","text":["x"]}
        {"user":"mallory","text":{"x":"x"}}
        {"user":"mallory","text":'x'}
        {"user":"mallory","text":"\u12"}
        {"user":"mallory","text":"\uzzzz"}
        {"user":"mallory","text":"\x41"}
        {"user":"mallory","text":"\"}
        {"user":"mallory","text":"\ud800"}
        {"user":"mallory","text":"\udc00"}
        {"user":"mallory","text":"\udc00\ud800"}
        {"user":"mallory","text":"\ud800\ud800"}
        {"user":"mallory","text":"\ud83dx"}
        {"user":"mallory\ud800","text":"x"}
        {"user":"mallory","text":"a~0ab"}
        {"user":"mallory","text":"a~00b"}
        {"user":"mallory","text":"a~1fb"}
        {"user":"mallory","text":"x","more":01}
        {"user":"mallory","text":"x","more":1.}
        {"user":"mallory","text":"x","more":+1}
        {"user":"mallory","text":"x","more":.5}
        {"user":"mallory","text":"x","more":tru}
        {"user":"mallory","text":"x","more":Infinity}
        ~ef~bb~bf{"user":"mallory","text":"x"}
        ~e2~80~a8{"user":"mallory","text":"x"}
        ~ff~fe{~00"~00
        {"user":"mallory~c0~af","text":"x"}
        {"user":"mallory~80","text":"x"}
        {"user":"mallory","text":"~c0~af"}
        {"user":"mallory","text":"~ed~a0~80"}
        {"user":"mallory","text":"~f4~90~80~80"}
        {"user":"mallory","text":"~e2~82"}
        {"user":"mallory","text":"~80"}
        {"user":"mallory","text":"~ff"}
        {"user":"mallory","text":"x","more":"~c0~af"}
        {"user":"mallory","text":"x","more":"~ed~a0~80"}
        {"user":"mallory","text":"x","more":"~ff"}
        {"user":"mallory","text":"x","~ff":1}
        {"user":"mallory",~ff"text":"x"}
        {"user":"mallory","text":"x"}~ff
    "#,
    ),
    (
        Problem(422),
        r#"
        {"user":"","text":"x"}
        {"user":" mallory","text":"x"}
        {"user":"mallory\n","text":"x"}
        {"user":"mallory~e3~80~80","text":"x"}
        {"user":"mal\u0000lory","text":"x"}
        {"user":"mal\u001blory","text":"x"}
        {"user":"mal~c2~85lory","text":"x"}
        {"user":"mallory","text":""}
        {"user":"mallory","text":"a\u0000b"}
    "#,
    ),
    (
        Taken(200),
        r#"
        {"user":"mallory","text":"x","more":1e999999}
        {"user":"mallory","text":"x","more":"\ud800"}
        {"user":"mallory","text":"x","more":0,"more":1}
        {"":"","":1,"user":"mallory","text":"x"}
        {"user":"\u006dallory","text":"\ud83d\ude00"}
        ~0d~0a~09 {"user":"mallory","text":"x"}~0d~0a
    "#,
    ),
];

/// Those that are too long for a table.
fn long_bodies() -> Vec<(Expected, Vec<u8>)> {
    let padded = |length: usize| {
        let mut body = GOOD.as_bytes().to_vec();
        body.resize(length, b' ');
        body
    };
    let user = |user: &str| format!(r#"{{"user":"{user}","text":"x"}}"#).into_bytes();
    let text = |text: &str| format!(r#"{{"user":"mallory","text":{text}}}"#).into_bytes();
    let more =
        |more: &str| format!(r#"{{"user":"mallory","text":"x","more":{more}}}"#).into_bytes();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let digits = "9".repeat(10_000);
    let string_of = |length: usize| format!("{:?}", "x".repeat(length));
    vec![
        (Taken(200), padded(64 << 10)),
        (Problem(413), padded((64 << 10) + 1)),
        (Problem(413), padded(200_000)),
        (Problem(400), vec![b'{'; 64 << 10]),
        (Problem(400), vec![0; 1000]),
        (
            Problem(400),
            GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (Problem(422), user(&"m".repeat(65))),
        (Problem(422), user(&"\u{10ffff}".repeat(65))),
        (Taken(200), text(&string_of(4096))),
        (Problem(422), text(&string_of(4097))),
        (Problem(422), text(&string_of(60_000))),
        (Problem(400), text(&digits)),
        (Problem(400), text(&deep)),
        (Problem(400), text(&"[".repeat(10_000))),
        (Taken(200), more(&digits)),
        (Taken(200), more(&deep)),
        (Problem(400), more(&"[".repeat(10_000))),
        (Problem(400), more(&r#"{"a":"#.repeat(10_000))),
    ]
}

/// Each with a declared length, in chunks, and in small pieces.
fn bodies() -> Vec<Case> {
    let of = |(expected, body): (Expected, Vec<u8>)| {
        let declared = with_length(b"", &body);
        let mut chunked = post(b"Transfer-Encoding: chunked\r\n", b"");
        for chunk in body.chunks(body.len() / 2 + 1) {
            chunked.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend([chunk, b"\r\n"].concat());
        }
        chunked.extend(b"0\r\n\r\n");
        [
            Case::new("body", &body, &declared, Open, expected),
            Case::new("chunked body", &body, &chunked, Open, expected),
            Case::new("body", &body, &declared, Open, expected).split(7.max(body.len() / 100)),
        ]
    };
    each(BODIES).chain(long_bodies()).flat_map(of).collect()
}

const REQUEST_LINES: &Table = &[
    (
        Empty(400),
        r"
        ~
        POST
        POST /messages
        POST  /messages HTTP/1.1
        POST~09/messages~09HTTP/1.1
        POST /messages HTTP/1.1~0dX
        POST /messages HTTP/1.1~00
        POST /messages HTTP/1.2
        POST /messages HTTP/1
        POST /messages HTTP/01.1
        POST /messages HTTP/1.10
        POST /messages HTTP/-1.1
        POST /messages http/1.1
        POST /messages HTTPS/1.1
        POST /messages ICY/1.1
        POST /mess ages HTTP/1.1
        POST /' OR 1=1-- HTTP/1.1
        HTTP/1.1 200 OK
    ",
    ),
    (
        Problem(400),
        "
        POST /messages HTTP/0.9
    ",
    ),
    (
        Problem(404),
        r"
        OPTIONS * HTTP/1.1
        CONNECT x:443 HTTP/1.1
        POST messages HTTP/1.1
        POST //messages HTTP/1.1
        POST /messages/ HTTP/1.1
        POST /Messages HTTP/1.1
        POST /%6dessages HTTP/1.1
        POST /messages%00 HTTP/1.1
        POST /messages~00 HTTP/1.1
        POST /messages;x HTTP/1.1
        POST /messages#x HTTP/1.1
        POST /../messages HTTP/1.1
        POST \messages HTTP/1.1
        POST http://x HTTP/1.1
        POST http://x/nowhere HTTP/1.1
        POST ://messages HTTP/1.1
        GET /../../etc/passwd HTTP/1.1
    ",
    ),
    (
        Problem(405),
        "
        post /messages HTTP/1.1
        P~00ST /messages HTTP/1.1
        BREW /messages HTTP/1.1
        CONNECT /messages HTTP/1.1
        DELETE /messages HTTP/1.1
        OPTIONS /messages HTTP/1.1
        PATCH /messages HTTP/1.1
        PUT /messages HTTP/1.1
        TRACE /messages HTTP/1.1
        POST /healthz HTTP/1.1
        PUT /readyz HTTP/1.1
    ",
    ),
    (
        Taken(200),
        "
        POST http://x/messages HTTP/1.1
        POST /messages?x HTTP/1.1
    ",
    ),
];

/// With a good message behind it.
fn request_lines() -> Vec<Case> {
    let long = format!("GET /{} HTTP/1.1", "a".repeat(100_000));
    let many = format!("POST {}HTTP/1.1", "/messages ".repeat(1000));
    let of = |(expected, line): (Expected, Vec<u8>)| {
        let rest = format!(
            "\r\nHost: x\r\nContent-Length: {}\r\n\r\n{GOOD}",
            GOOD.len()
        );
        let bytes = [&line, rest.as_bytes()].concat();
        Case::new("request line", &line, &bytes, Open, expected)
    };
    each(REQUEST_LINES)
        .chain([(Problem(404), long.into()), (Empty(400), many.into())])
        .map(of)
        .collect()
}

const HEADERS: &Table = &[
    (
        Empty(400),
        "
        X y: z
        X : y
        X~09: y
        no colon
        X: y~0d~0a folded
    ",
    ),
    (
        Problem(400),
        r#"
        : y
        X~00: y
        X~7f: y
        X: ~00
        X: y~0aContent-Length: 1
        X: y~0dContent-Length: 1
        X-Request-Id: y~0aSet-Cookie: z
        X-Request-Id: y~0dSet-Cookie: z
        Idempotency-Key: 123e4567-e89b-42d3-a456-426614174000~0aSet-Cookie: z
        X: ~1b[31m
        Idempotency-Key:
        Idempotency-Key: x
        Idempotency-Key: 0
        Idempotency-Key: "
        Idempotency-Key: ""
        Idempotency-Key: 123e4567e89b42d3a456426614174000
        Idempotency-Key: {123e4567-e89b-42d3-a456-426614174000}
        Idempotency-Key: urn:uuid:123e4567-e89b-42d3-a456-426614174000
        Idempotency-Key: 123e4567-e89b-42d3-a456-42661417400g
        Idempotency-Key: 123e4567-e89b-42d3-a456-4266141740000
        Idempotency-Key: 123e4567-e89b-42d3-a456-426614174000, 123e4567-e89b-42d3-a456-426614174000
        Idempotency-Key: 123e4567-e89b-42d3-a456-426614174000~0d~0aIdempotency-Key: 123e4567-e89b-42d3-a456-426614174000
        Idempotency-Key: ' OR 1=1 --
    "#,
    ),
    (
        Problem(415),
        "
        Content-Type:
        Content-Type: json
        Content-Type: */*
        Content-Type: text/json
        Content-Type: text/plain
        Content-Type: application/jsonx
        Content-Type: application/x-www-form-urlencoded
        Content-Type: multipart/form-data; boundary=x
        Content-Encoding: gzip
        Content-Encoding: br
        Content-Encoding: identity, gzip
        Content-Encoding: identity~0d~0aContent-Encoding: deflate
    ",
    ),
    (
        Empty(417),
        "
        Expect:
        Expect: 100
        Expect: 200-ok
        Expect: 100-continue, x
    ",
    ),
    (
        Closed,
        "
        X: ~c3~a9
        ~c3~a9: y
    ",
    ),
    (
        Taken(200),
        "
        Connection: upgrade~0d~0aUpgrade: h2c~0d~0aHTTP2-Settings: AAMAAABk
        Connection: upgrade~0d~0aUpgrade: websocket
        Connection: keep-alive, close
        Content-Encoding: identity
    ",
    ),
];

/// Before a good message.
fn headers() -> Vec<Case> {
    let many: Vec<String> = (0..5000).map(|index| format!("X-{index}: y")).collect();
    let long = format!("X: {}", "y".repeat(1_000_000));
    let of = |(expected, lines): (Expected, Vec<u8>)| {
        let bytes = with_length(&[&lines, &b"\r\n"[..]].concat(), GOOD.as_bytes());
        Case::new("header", &lines, &bytes, Open, expected)
    };
    each(HEADERS)
        .chain([many.join("\r\n"), long].map(|lines| (Taken(200), lines.into())))
        .map(of)
        .collect()
}

/// The message behind these has 29 bytes.
const FRAMINGS: &Table = &[
    (
        Problem(400),
        r#"
        X: no length
        Content-Length:
        Content-Length: 0
        Content-Length: 28
        Content-Length: -1
        Content-Length: +29
        Content-Length: 0x1d
        Content-Length: 1e1
        Content-Length: 29.0
        Content-Length: 29,29
        Content-Length: 29 29
        Content-Length: 29;
        Content-Length: "29"
        Content-Length: twenty
        Content-Length: 99999999999999999999
        Content-Length: 18446744073709551616
        Content-Length: 1025
        Content-Length: 65536
        Content-Length: 29~0d~0aContent-Length: 29
        Content-Length: 29~0d~0aContent-Length: 28
        Content-Length: 0~0d~0aContent-Length: 29
        Content-Length: 29~0d~0aTransfer-Encoding: chunked
        Transfer-Encoding: chunked~0d~0aContent-Length: 29
        Content-Length: 0~0d~0aTransfer-Encoding: chunked
        Content-Length: 29~0d~0aTransfer-Encoding: identity
        Transfer-Encoding: chunked~0d~0aTransfer-Encoding: chunked
        Transfer-Encoding: chunked~0d~0aTransfer-Encoding: identity
        Transfer-Encoding:
        Transfer-Encoding: gzip
        Transfer-Encoding: identity
        Transfer-Encoding: gzip, chunked
        Transfer-Encoding: chunked, gzip
        Transfer-Encoding: chunked, identity
        Transfer-Encoding: identity, chunked
        Transfer-Encoding: chunked identity
        Transfer-Encoding: chunked~09x
        Transfer-Encoding: ~7fchunked
        Transfer-Encoding: chunked~0dX: y
        Transfer-Encoding: chunked~0aX: y
        Transfer-Encoding: chunked, chunked
        Transfer-Encoding: chunked,
        Transfer-Encoding: chunked;q=1
        Transfer-Encoding: xchunked
        Transfer-Encoding: "chunked"
        Transfer-Encoding: chunked
    "#,
    ),
    (
        Problem(413),
        "
        Content-Length: 65537
        Content-Length: 100000
        Content-Length: 268435456
    ",
    ),
    // tiny_http reads up to 1 KiB by itself.
    (
        Closed,
        "
        Content-Length: 30
        Content-Length: 1024
        Content-Length: ~d9~a2~d9~a9
    ",
    ),
];

/// Instead of the right length, before a good message and the end.
fn framings() -> Vec<Case> {
    let of = |(expected, lines): (Expected, Vec<u8>)| {
        let bytes = post(&[&lines, &b"\r\n"[..]].concat(), GOOD.as_bytes());
        Case::new("framing", &lines, &bytes, HalfClosed, expected)
    };
    each(FRAMINGS).map(of).collect()
}

/// Declared, and never sent.
fn lengths() -> Vec<Case> {
    let of = |length: usize| {
        let silent = format!("Content-Length: {length}");
        let patient = format!("{silent}\r\nExpect: 100-continue");
        [(silent, Problem(400)), (patient, Taken(100))].map(|(lines, expected)| {
            let bytes = post(format!("{lines}\r\n").as_bytes(), b"");
            Case::new("silent behind", lines.as_bytes(), &bytes, Open, expected)
        })
    };
    [1025, 30_000, 64 << 10].into_iter().flat_map(of).collect()
}

/// The message in them has 1d bytes.
const CHUNKS: &Table = &[
    (
        Problem(400),
        r#"
        ~
        ~0d~0a
        ~0a
        1d
        x~0d~0a
        0~0d~0a~0d~0a
        ~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        x~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        -1~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        -0~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        0x1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        1d 1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        1g~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        1,d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        ~00~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        1d~c3~a9~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        1~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        ff~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0d~0a
        ffffffffffffffff~0d~0a{"user":
        10000000000000000~0d~0a{"user":
        1d~0a{"user":"mallory","text":"x"}~0a0~0a~0a
        1d~0d{"user":"mallory","text":"x"}~0d0~0d~0d
        1d~0d~0a{"user":"mallory","text":"x"}
        1d~0d~0a{"user":"mallory","text":"x"}0~0d~0a~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0a0~0a~0a
        1d;x=y{"user":"mallory","text":"x"}
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0a~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0aTrailer: x~0d~0a~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a0~0d~0aContent-Length: 5~0d~0a~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0ax~0d~0a
        1d~0d~0a{"user":"mallory","text":"x"}~0d~0a1~0d~0ax~0d~0a0~0d~0a~0d~0a
    "#,
    ),
    (
        Taken(200),
        r#"
        0000001d~0d~0a{"user":"mallory","text":"x"}~0d~0a000~0d~0a~0d~0a
        1D;x="y"~0d~0a{"user":"mallory","text":"x"}~0d~0a0;last~0d~0a~0d~0a
    "#,
    ),
];

fn single_chunk() -> String {
    format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len())
}

fn chunks() -> Vec<Case> {
    let of = |ending: Ending, expected: Expected, chunks: &[u8]| {
        let bytes = post(b"Transfer-Encoding: chunked\r\n", chunks);
        Case::new("chunks", chunks, &bytes, ending, expected)
    };
    let mut cases: Vec<Case> = each(CHUNKS)
        .map(|(expected, chunks)| of(HalfClosed, expected, &chunks))
        .collect();
    for size in ["20000", "80000000", "7fffffffffffffff", "ffffffffffffffff"] {
        let chunk = format!("{size}\r\n{}", "x".repeat(70_000));
        cases.push(of(HalfClosed, Problem(413), chunk.as_bytes()));
    }
    for silent in ["1", "1\r\n", "5\r\n{", "5\r\n{\"use\r\n"] {
        cases.push(of(Open, Problem(400), silent.as_bytes()));
    }
    let single: Vec<String> = GOOD.chars().map(|one| format!("1\r\n{one}")).collect();
    let extension = format!("1d;{}\r\n{GOOD}\r\n0\r\n\r\n", "x=y;".repeat(10_000));
    cases.push(of(
        Open,
        Taken(200),
        (single.join("\r\n") + "\r\n0\r\n\r\n").as_bytes(),
    ));
    cases.push(of(Open, Taken(200), extension.as_bytes()));
    // White space around a value is no part of it.
    let spaced = post(
        b"Transfer-Encoding:\tChunked \t\r\n",
        single_chunk().as_bytes(),
    );
    cases.push(Case::new("chunks", b"spaced", &spaced, Open, Taken(200)));
    let blanks = "1\r\n \r\n".repeat((64 << 10) + 1) + "0\r\n\r\n";
    cases.push(of(Open, Problem(413), blanks.as_bytes()));
    cases
}

/// What stands in the place of `Host` (RFC 9112, section 3.2), and of the version.
const HOSTS: &Table = &[
    (
        Problem(400),
        "
        HTTP/1.1~0d~0aX: no host
        HTTP/1.1~0d~0aHost:
        HTTP/1.1~0d~0aHost: x~0d~0aHost: x
        HTTP/1.0~0d~0aHost: x~0d~0aHost: y
        HTTP/1.1~0d~0aHost: x, y
        HTTP/1.1~0d~0aHost: x y
        HTTP/1.1~0d~0aHost: x/y
        HTTP/1.1~0d~0aHost: x?y
        HTTP/1.1~0d~0aHost: x#y
        HTTP/1.1~0d~0aHost: http://x
        HTTP/1.1~0d~0aHost: user@x
        HTTP/1.1~0d~0aHost: x:y
        HTTP/1.1~0d~0aHost: x:1:2
        HTTP/1.1~0d~0aHost: x:-1
        HTTP/1.1~0d~0aHost: x:65536
        HTTP/1.1~0d~0aHost: :80
        HTTP/1.1~0d~0aHost: ::1
        HTTP/1.1~0d~0aHost: [::1
        HTTP/1.1~0d~0aHost: [x]
        HTTP/1.1~0d~0aHost: [::1]x
        HTTP/1.1~0d~0aHost: <x>
        HTTP/1.1~0d~0aHost: x%zz
        HTTP/1.0~0d~0aHost: x y
    ",
    ),
    (
        Taken(200),
        "
        HTTP/1.0~0d~0aX: no host
        HTTP/1.0~0d~0aHost: x
        HTTP/1.1~0d~0aHost: x:
        HTTP/1.1~0d~0aHost: x:65535
        HTTP/1.1~0d~0aHost: a-b_c.example.:80
        HTTP/1.1~0d~0aHost: 127.0.0.1:8001
        HTTP/1.1~0d~0aHost: [::1]
        HTTP/1.1~0d~0aHost: [::ffff:127.0.0.1]:8001
    ",
    ),
];

fn hosts() -> Vec<Case> {
    let of = |(expected, lines): (Expected, Vec<u8>)| {
        let length = format!("\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len());
        let bytes = [b"POST /messages ", lines.as_slice(), length.as_bytes()].concat();
        let absolute = [
            b"POST http://x/messages ",
            lines.as_slice(),
            length.as_bytes(),
        ]
        .concat();
        [bytes, absolute].map(|bytes| Case::new("host", &lines, &bytes, Open, expected))
    };
    each(HOSTS).flat_map(of).collect()
}

const QUERIES: &Table = &[
    (
        Problem(400),
        "
        =
        x=1
        Limit=1
        limit
        limit=
        limit==1
        limit=-1
        limit=+1
        limit=1.0
        limit=0x1
        limit=1e1
        limit=%31
        limit=1#x
        limit=1&x
        limit=1&limit=1
        limit=99999999999999999999
        before
        before='
        before=-1
        before=1;DROP
        before=1&before=2
        before=18446744073709551616
    ",
    ),
    (
        Problem(422),
        "
        limit=0
        limit=101
        limit=18446744073709551615
    ",
    ),
];

fn queries() -> Vec<Case> {
    let of = |(expected, query): (Expected, Vec<u8>)| {
        let bytes = [
            b"GET /messages?",
            query.as_slice(),
            b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
        .concat();
        Case::new("query", &query, &bytes, Open, expected)
    };
    let long = [(Problem(400), vec![b'x'; 10_000])];
    each(QUERIES).chain(long).map(of).collect()
}

const OTHER_PROTOCOLS: &Table = &[
    (
        Empty(400),
        "
        GET /healthz~0d~0a
        SSH-2.0-OpenSSH_9.2p1~0d~0a
        EHLO x~0d~0a
        *1~0d~0a$4~0d~0aPING~0d~0a
        PROXY TCP4 127.0.0.1 127.0.0.1 1 2~0d~0a
        ~0d~0a~0d~0a~00~0d~0aQUIT~0a
        ~0d~0a~0d~0a~0d~0a~0d~0a
    ",
    ),
    (
        Closed,
        "
        ~
        GET /healthz HTTP/1.1~0a~0a
        GET /healthz HTTP/1.1~0d~0d
        ~16~03~01~00~f4~01~00~00~f0~03~03~0d~0a~0d~0a
        ~16~03~01~00~f4~01~00~00~f0~03~03
    ",
    ),
];

fn other_protocols() -> Vec<Case> {
    let random = (0_u32..4096).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
    let long = [
        (Refused, random.collect()),
        (Closed, vec![0; 10_000]),
        (Closed, vec![b'a'; 100_000]),
        (Empty(400), b"\r\n".repeat(1000)),
    ];
    let of = |(expected, bytes): (Expected, Vec<u8>)| {
        [HalfClosed, Open]
            .map(|ending| Case::new("other protocol", &bytes, &bytes, ending, expected))
    };
    each(OTHER_PROTOCOLS).chain(long).flat_map(of).collect()
}

/// A good request, cut off behind each of its bytes.
fn cut_off() -> Vec<Case> {
    let whole = with_length(b"Content-Type: application/json\r\n", GOOD.as_bytes());
    let cut = |length: usize| {
        let bytes = &whole[..length];
        [HalfClosed, Ending::Closed]
            .map(|ending| Case::new("cut off behind", bytes, bytes, ending, Closed))
    };
    (1..whole.len()).flat_map(cut).collect()
}

/// A good request, with each of its bytes replaced by one that must not stand there.
fn corrupted() -> Vec<Case> {
    let whole = with_length(b"Content-Type: application/json\r\n", GOOD.as_bytes());
    let corrupt = |at: usize| {
        [0, 0xff].map(|byte| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            Case::new("corrupted", &bytes[at..], &bytes, HalfClosed, Refused)
        })
    };
    (0..whole.len()).flat_map(corrupt).collect()
}
