//! Request lines and headers.

use super::*;

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
        Accepted(200),
        "
        POST http://x/messages HTTP/1.1
        POST /messages?x HTTP/1.1
    ",
    ),
];

/// Each before a valid message.
pub(super) fn request_lines() -> Vec<Case> {
    let long = format!("GET /{} HTTP/1.1", "a".repeat(100_000));
    let many = format!("POST {}HTTP/1.1", "/messages ".repeat(1000));
    let to_case = |(expected, line): (Expected, Vec<u8>)| {
        let rest = format!(
            "\r\nHost: x\r\nContent-Length: {}\r\n\r\n{VALID}",
            VALID.len()
        );
        let bytes = [&line, rest.as_bytes()].concat();
        Case::new("request line", &line, &bytes, Open, expected)
    };
    each(REQUEST_LINES)
        .chain([(Problem(404), long.into()), (Empty(400), many.into())])
        .map(to_case)
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
        Accepted(200),
        "
        Connection: upgrade~0d~0aUpgrade: h2c~0d~0aHTTP2-Settings: AAMAAABk
        Connection: upgrade~0d~0aUpgrade: websocket
        Connection: keep-alive, close
        Content-Encoding: identity
    ",
    ),
];

/// Each in a request with a valid message.
pub(super) fn headers() -> Vec<Case> {
    let many: Vec<String> = (0..5000).map(|index| format!("X-{index}: y")).collect();
    let long = format!("X: {}", "y".repeat(1_000_000));
    let to_case = |(expected, lines): (Expected, Vec<u8>)| {
        let bytes = with_length(&[&lines, &b"\r\n"[..]].concat(), VALID.as_bytes());
        Case::new("header", &lines, &bytes, Open, expected)
    };
    each(HEADERS)
        .chain([many.join("\r\n"), long].map(|lines| (Accepted(200), lines.into())))
        .map(to_case)
        .collect()
}

/// Replacements for the version and the `Host` header (RFC 9112, section 3.2).
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
        Accepted(200),
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

pub(super) fn hosts() -> Vec<Case> {
    let to_cases = |(expected, lines): (Expected, Vec<u8>)| {
        let length = format!("\r\nContent-Length: {}\r\n\r\n{VALID}", VALID.len());
        let bytes = [b"POST /messages ", lines.as_slice(), length.as_bytes()].concat();
        let absolute = [
            b"POST http://x/messages ",
            lines.as_slice(),
            length.as_bytes(),
        ]
        .concat();
        [bytes, absolute].map(|bytes| Case::new("host", &lines, &bytes, Open, expected))
    };
    each(HOSTS).flat_map(to_cases).collect()
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

pub(super) fn queries() -> Vec<Case> {
    let to_case = |(expected, query): (Expected, Vec<u8>)| {
        let bytes = [
            b"GET /messages?",
            query.as_slice(),
            b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
        .concat();
        Case::new("query", &query, &bytes, Open, expected)
    };
    let long = [(Problem(400), vec![b'x'; 10_000])];
    each(QUERIES).chain(long).map(to_case).collect()
}
