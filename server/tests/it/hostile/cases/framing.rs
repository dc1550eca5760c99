//! Lengths and chunks: where a request ends.

use super::*;

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

/// Each in place of the right length, before a valid message and the end of the connection.
pub(super) fn framings() -> Vec<Case> {
    let to_case = |(expected, lines): (Expected, Vec<u8>)| {
        let bytes = post(&[&lines, &b"\r\n"[..]].concat(), VALID.as_bytes());
        Case::new("framing", &lines, &bytes, HalfClosed, expected)
    };
    each(FRAMINGS).map(to_case).collect()
}

/// Bodies that are declared and never sent.
pub(super) fn lengths() -> Vec<Case> {
    let to_cases = |length: usize| {
        let silent = format!("Content-Length: {length}");
        let patient = format!("{silent}\r\nExpect: 100-continue");
        [(silent, Problem(400)), (patient, Accepted(100))].map(|(lines, expected)| {
            let bytes = post(format!("{lines}\r\n").as_bytes(), b"");
            Case::new("silent behind", lines.as_bytes(), &bytes, Open, expected)
        })
    };
    [1025, 30_000, 64 << 10]
        .into_iter()
        .flat_map(to_cases)
        .collect()
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
        Accepted(200),
        r#"
        0000001d~0d~0a{"user":"mallory","text":"x"}~0d~0a000~0d~0a~0d~0a
        1D;x="y"~0d~0a{"user":"mallory","text":"x"}~0d~0a0;last~0d~0a~0d~0a
    "#,
    ),
];

fn single_chunk() -> String {
    format!("{:x}\r\n{VALID}\r\n0\r\n\r\n", VALID.len())
}

pub(super) fn chunks() -> Vec<Case> {
    let case = |ending: Ending, expected: Expected, chunks: &[u8]| {
        let bytes = post(b"Transfer-Encoding: chunked\r\n", chunks);
        Case::new("chunks", chunks, &bytes, ending, expected)
    };
    let mut cases: Vec<Case> = each(CHUNKS)
        .map(|(expected, chunks)| case(HalfClosed, expected, &chunks))
        .collect();
    for size in ["20000", "80000000", "7fffffffffffffff", "ffffffffffffffff"] {
        let chunk = format!("{size}\r\n{}", "x".repeat(70_000));
        cases.push(case(HalfClosed, Problem(413), chunk.as_bytes()));
    }
    for silent in ["1", "1\r\n", "5\r\n{", "5\r\n{\"use\r\n"] {
        cases.push(case(Open, Problem(400), silent.as_bytes()));
    }
    let single: Vec<String> = VALID.chars().map(|one| format!("1\r\n{one}")).collect();
    let extension = format!("1d;{}\r\n{VALID}\r\n0\r\n\r\n", "x=y;".repeat(10_000));
    cases.push(case(
        Open,
        Accepted(200),
        (single.join("\r\n") + "\r\n0\r\n\r\n").as_bytes(),
    ));
    cases.push(case(Open, Accepted(200), extension.as_bytes()));
    // White space around a value is not a part of it.
    let spaced = post(
        b"Transfer-Encoding:\tChunked \t\r\n",
        single_chunk().as_bytes(),
    );
    cases.push(Case::new("chunks", b"spaced", &spaced, Open, Accepted(200)));
    let blanks = "1\r\n \r\n".repeat((64 << 10) + 1) + "0\r\n\r\n";
    cases.push(case(Open, Problem(413), blanks.as_bytes()));
    cases
}
