//! Sources that are well-formed, malformed, or cut off anywhere.

use proptest::prelude::*;

use super::*;

/// Returns a few bytes per read, as a pipe may.
struct ShortReads<'a>(&'a [u8], usize);

impl Read for ShortReads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        let (read, unread) = self.0.split_at(length);
        buffer[..length].copy_from_slice(read);
        self.0 = unread;
        Ok(length)
    }
}

/// The phones of the calls, and the positions of the malformed rows.
type PhonesAndPositions = (Vec<u64>, Vec<u64>);

fn read_all(text: &str, bytes_per_read: usize) -> Result<PhonesAndPositions, Error> {
    let mut calls = JsonCalls::new(ShortReads(text.as_bytes(), bytes_per_read))?;
    let (mut phones, mut positions) = (Vec::new(), Vec::new());
    while let Some(row) = calls.next_row()? {
        match row {
            Row::Call(call) => phones.push(call.phone.number()),
            Row::Malformed { at, .. } => positions.push(at),
        }
    }
    assert!(calls.next_row()?.is_none(), "the end is the end");
    Ok((phones, positions))
}

fn call(phone: u64) -> String {
    format!(r#"{{"phone": {phone}, "start_date": 1, "end_date": 2}}"#)
}

#[test]
fn an_array_and_lines_give_the_same_calls_however_they_are_cut() {
    let calls = [1, 2, 3].map(call);
    let texts = [
        format!("[{}]", calls.join(",")),
        format!(" [\n{}\n]\n", calls.join(" ,\n ")),
        calls.join("\n"),
        calls.join("\r\n\r\n") + "\n",
        calls.concat(),
    ];
    for text in &texts {
        for bytes_per_read in [1, 7, 1 << 20] {
            let read = read_all(text, bytes_per_read).expect("it is well-formed");
            assert_eq!(read, (vec![1, 2, 3], vec![]), "{text}");
        }
    }
    for nothing in ["", " \n", "[]", " [ ] "] {
        let read = read_all(nothing, 1).expect("it is well-formed");
        assert_eq!(read, (vec![], vec![]), "{nothing:?}");
    }
}

#[test]
fn what_is_json_and_no_call_is_left_out_and_its_place_is_told() {
    let others = [
        "{}",
        "17",
        "null",
        "\"],[\"",
        "[[]]",
        "-1.5e3",
        r#"{"phone": "1", "start_date": 1, "end_date": 2}"#,
        r#"{"phone": 1.5, "start_date": 1, "end_date": 2}"#,
        r#"{"phone": -1, "start_date": 1, "end_date": 2}"#,
        r#"{"phone": 1, "start_date": 3, "end_date": 2}"#,
        r#"{"phone": 1, "phone": 1, "start_date": 1, "end_date": 2}"#,
        r#"{"phone": 1, "start_date": 1, "note": {"}": "]"}}"#,
    ];
    for other in others {
        for (open, comma, close) in [("[", ",", "]"), ("", "\n", "\n")] {
            let before = format!("{open}{}{comma}", call(1));
            let text = format!("{before}{other}{comma}{}{close}", call(2));
            let read = read_all(&text, 1).expect("the rest is well-formed");
            assert_eq!(read, (vec![1, 2], vec![before.len() as u64]), "{text}");
        }
    }
}

#[test]
fn a_broken_line_costs_the_line_and_a_broken_array_ends_there() {
    for broken in [
        "{",
        "{\"phone\": 1",
        "}",
        "]",
        "nonsense",
        "{\"phone\" 1}",
        ",",
        "\"open",
    ] {
        let text = format!("{}\n{broken}\n{}\n", call(1), call(2));
        let read = read_all(&text, 1).expect("lines go on");
        assert_eq!((&read.0[0], read.1.len()), (&1, 1), "{text}");
        let text = format!("[{},{broken},{}]", call(1), call(2));
        let error = read_all(&text, 1).expect_err("an array does not");
        assert!(!error.to_string().contains("cannot read on"), "{error}");
    }
}

#[test]
fn an_array_is_taken_only_as_a_whole() {
    let one = call(1);
    for broken in [
        format!("[{one}"),
        format!("[{one},"),
        format!("[{one},]"),
        format!("[,{one}]"),
        format!("[{one} {one}]"),
        format!("[{one}] x"),
        format!("[{one}][{one}]"),
        "[".to_owned(),
    ] {
        assert!(read_all(&broken, 1).is_err(), "{broken}");
    }
}

#[test]
fn a_row_may_fill_the_buffer_and_not_more() {
    let row = |length: usize| {
        let call = call(1);
        format!(
            "{}{}{}",
            &call[..1],
            " ".repeat(length - call.len()),
            &call[1..]
        )
    };
    let fits = format!("{}\n", row(BUFFER_BYTES - 1));
    assert_eq!(read_all(&fits, 1 << 17).expect("it fits").0, [1]);
    let too_long = row(BUFFER_BYTES + 1);
    let text = format!("{too_long}\n{}", call(2));
    assert_eq!(
        read_all(&text, 1 << 17).expect("lines go on"),
        (vec![2], vec![0])
    );
    let read = read_all(&format!("[{too_long}]"), 1 << 17);
    let error = read.expect_err("an array does not go on").to_string();
    assert!(
        error.contains("byte 1 ") && error.contains("more than 1048576 bytes"),
        "{error}"
    );
    let mut lines = JsonCalls::new(too_long.as_bytes()).expect("it is well-formed");
    let row = lines.next_row().expect("lines go on");
    assert!(
        matches!(&row, Some(Row::Malformed { reason, .. }) if reason.contains("more than 1048576 bytes")),
        "{row:?}"
    );
    // A full buffer does not hide another error.
    let broken = format!("{{\"phone\" 1}}\n{}", row_of_spaces());
    let mut lines = JsonCalls::new(broken.as_bytes()).expect("it is well-formed");
    let row = lines.next_row().expect("lines go on");
    assert!(
        matches!(&row, Some(Row::Malformed { reason, .. }) if reason.contains("expected `:`")),
        "{row:?}"
    );
}

fn row_of_spaces() -> String {
    " ".repeat(2 * BUFFER_BYTES)
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    for text in [call(1), format!("[{}]", call(1))] {
        for bytes_per_read in [1, 1 << 20] {
            let read =
                read_all(&format!("\u{feff}{text}"), bytes_per_read).expect("it is well-formed");
            assert_eq!(read, (vec![1], vec![]), "{text}");
        }
    }
}

#[test]
fn a_call_as_an_array_is_none_and_the_reason_shows_a_row() {
    for text in ["[[77,1000,2500]]", "[77,1000,2500]"] {
        let mut calls = JsonCalls::new(text.as_bytes()).expect("it is well-formed");
        let row = calls.next_row().expect("it is JSON");
        assert!(
            matches!(&row, Some(Row::Malformed { reason, .. }) if reason.contains(r#"{"phone": 1, "start_date""#)),
            "{row:?}"
        );
    }
}

#[test]
fn a_last_line_that_is_cut_off_is_read_again_when_the_rest_of_it_is_there() {
    let (first, second) = (format!("{}\n", call(1)), call(2));
    for cut in 1..second.len() {
        let mut before =
            JsonCalls::new(ShortReads(first.as_bytes(), 7)).expect("it is well-formed");
        while before.next_row().expect("lines go on").is_some() {}
        let text = format!("{first}{}", &second[..cut]);
        let mut calls = JsonCalls::new(ShortReads(text.as_bytes(), 5)).expect("it is well-formed");
        while calls.next_row().expect("lines go on").is_some() {}
        assert_eq!(
            calls.checkpoint().position,
            first.trim_end().len() as u64 + 1,
            "{text}"
        );
        assert_eq!(calls.checkpoint(), before.checkpoint(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_source_is_read_the_same_from_any_row_on(
        is_array in any::<bool>(), phones in prop::collection::vec(0..99_u64, 1..9), before in 0..9_usize
    ) {
        let before = 1 + before % phones.len();
        let rows: Vec<String> = phones.iter().map(|&phone| call(phone)).collect();
        let text = if is_array { format!("[ {} ]", rows.join(" , ")) } else { rows.join("\n") };
        let mut first = JsonCalls::new(text.as_bytes()).expect("it is well-formed");
        for _row in 0..before {
            prop_assert!(first.next_row().expect("it is well-formed").is_some());
        }
        let mut second = JsonCalls::new(ShortReads(text.as_bytes(), 3)).expect("it is well-formed");
        let checkpoint = first.checkpoint();
        prop_assert!(second.skip_to(checkpoint.position, false).expect("it can be read"));
        prop_assert_eq!(second.checkpoint(), checkpoint);
        let mut rest = Vec::new();
        while let Some(Row::Call(call)) = second.next_row().expect("it is well-formed") {
            rest.push(call.phone.number());
        }
        prop_assert_eq!(rest, &phones[before..]);
    }
}
