//! The cases, most of them made from tables: what is sent, how, and what must come back.

mod bodies;
mod framing;
mod heads;

use bodies::bodies;
use framing::{chunks, framings, lengths};
use heads::{headers, hosts, queries, request_lines};

/// One connection: what is sent on it, and what must come back first.
pub(super) struct Case {
    pub(super) name: String,
    /// Each piece is written by a call of its own.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) ending: Ending,
    pub(super) expected: Expected,
}

/// What the client does after it has sent all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Keeps the connection open, and waits for the answer.
    Open,
    HalfClosed,
    /// Closes the connection, and does not read the answer.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Unusual, but accepted: answered with this status.
    Accepted(u16),
    /// Refused by the contract.
    Problem(u16),
    /// Refused by `tiny_http` itself, without a body.
    Empty(u16),
    /// Closed without an answer.
    Closed,
    /// One of the three above.
    Refused,
}

use Ending::{HalfClosed, Open};
use Expected::{Accepted, Closed, Empty, Problem, Refused};

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

    /// The same case, sent in pieces of this length.
    fn split(mut self, length: usize) -> Self {
        self.name.push_str(" in pieces");
        let bytes = self.pieces.concat();
        self.pieces = bytes.chunks(length).map(<[u8]>::to_vec).collect();
        self
    }

    /// Whether a message is stored.
    pub(super) fn stores(&self) -> bool {
        self.expected == Accepted(200) && self.pieces.concat().starts_with(b"POST")
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

const VALID: &str = r#"{"user":"mallory","text":"x"}"#;

fn post(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let head = b"POST /messages HTTP/1.1\r\nHost: x\r\n";
    [head, headers, b"\r\n", body].concat()
}

fn with_length(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    post(&[length.as_bytes(), headers].concat(), body)
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
    let to_cases = |(expected, bytes): (Expected, Vec<u8>)| {
        [HalfClosed, Open]
            .map(|ending| Case::new("other protocol", &bytes, &bytes, ending, expected))
    };
    each(OTHER_PROTOCOLS)
        .chain(long)
        .flat_map(to_cases)
        .collect()
}

/// A valid request, cut off behind each of its bytes.
fn cut_off() -> Vec<Case> {
    let whole = with_length(b"Content-Type: application/json\r\n", VALID.as_bytes());
    let cut = |length: usize| {
        let bytes = &whole[..length];
        [HalfClosed, Ending::Closed]
            .map(|ending| Case::new("cut off behind", bytes, bytes, ending, Closed))
    };
    (1..whole.len()).flat_map(cut).collect()
}

/// A valid request, with each of its bytes replaced by an invalid one.
fn corrupted() -> Vec<Case> {
    let whole = with_length(b"Content-Type: application/json\r\n", VALID.as_bytes());
    let corrupt = |at: usize| {
        [0, 0xff].map(|byte| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            Case::new("corrupted", &bytes[at..], &bytes, HalfClosed, Refused)
        })
    };
    (0..whole.len()).flat_map(corrupt).collect()
}
