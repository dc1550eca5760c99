//! Hostile bodies.

use super::*;

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
        Accepted(200),
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

/// Bodies that are too long for a table.
fn long_bodies() -> Vec<(Expected, Vec<u8>)> {
    let padded = |length: usize| {
        let mut body = VALID.as_bytes().to_vec();
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
        (Accepted(200), padded(64 << 10)),
        (Problem(413), padded((64 << 10) + 1)),
        (Problem(413), padded(200_000)),
        (Problem(400), vec![b'{'; 64 << 10]),
        (Problem(400), vec![0; 1000]),
        (
            Problem(400),
            VALID.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (Problem(422), user(&"m".repeat(65))),
        (Problem(422), user(&"\u{10ffff}".repeat(65))),
        (Accepted(200), text(&string_of(4096))),
        (Problem(422), text(&string_of(4097))),
        (Problem(422), text(&string_of(60_000))),
        (Problem(400), text(&digits)),
        (Problem(400), text(&deep)),
        (Problem(400), text(&"[".repeat(10_000))),
        (Accepted(200), more(&digits)),
        (Accepted(200), more(&deep)),
        (Problem(400), more(&"[".repeat(10_000))),
        (Problem(400), more(&r#"{"a":"#.repeat(10_000))),
    ]
}

/// Each body with a declared length, in chunks, and in small pieces.
pub(super) fn bodies() -> Vec<Case> {
    let to_cases = |(expected, body): (Expected, Vec<u8>)| {
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
    each(BODIES)
        .chain(long_bodies())
        .flat_map(to_cases)
        .collect()
}
