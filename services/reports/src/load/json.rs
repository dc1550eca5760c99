//! Calls from JSON: an array of them, or one after the other, as in JSON Lines. What is read lies in a buffer of a fixed
//! size, however long the source is.

use std::io::{self, Read};

use memchr::{memchr, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;

use crate::call::Call;

use super::source::{Row, SourceError};

/// Bytes that are read at once; also the longest row. A call takes some seventy.
const BUFFER_BYTES: usize = 1 << 20;

/// What surrounds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[`, commas, `]`. What is no JSON ends it, as nobody can tell where the next row begins.
    Array,
    /// Nothing: the next row begins on the next line, whatever stands on this one.
    Lines,
}

/// Rows of a source, and where in it they stand.
pub(super) struct JsonCalls<R> {
    input: R,
    buffer: Box<[u8]>,
    /// How much of the buffer holds bytes of the source.
    filled: usize,
    /// The first byte of the buffer that is not read yet.
    next: usize,
    /// The position of the buffer in the source.
    buffer_at: u64,
    input_ended: bool,
    form: Form,
    /// Whether a comma must stand before the next row.
    is_behind_row: bool,
    ended: bool,
}

impl<R: Read> JsonCalls<R> {
    /// Begins at the start of a source.
    pub(super) fn new(input: R) -> Result<Self, SourceError> {
        let mut calls = Self {
            input,
            buffer: vec![0; BUFFER_BYTES].into(),
            filled: 0,
            next: 0,
            buffer_at: 0,
            input_ended: false,
            form: Form::Lines,
            is_behind_row: false,
            ended: false,
        };
        if calls.peek()? == Some(b'[') {
            calls.form = Form::Array;
            calls.next += 1;
        }
        Ok(calls)
    }

    /// Goes on at a position that [`Self::position`] gave behind a row.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<(), SourceError> {
        while self.buffer_at + (self.filled as u64) < position {
            self.next = self.filled;
            if !self.read_more()? {
                return Err(SourceError::Shorter(position));
            }
        }
        let offset = position.saturating_sub(self.buffer_at);
        self.next = usize::try_from(offset).expect("it lies in the buffer");
        self.is_behind_row = true;
        Ok(())
    }

    /// The first byte that is not read yet.
    pub(super) fn position(&self) -> u64 {
        self.buffer_at + self.next as u64
    }

    /// The next row; `None` behind the last one.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        if self.ended || !self.go_to_row()? {
            self.ended = true;
            return Ok(None);
        }
        let at = self.position();
        let row = match self.parse::<Call>()? {
            Parsed::Value(call) => Row::Call(call),
            Parsed::Invalid(error) if error.is_data() => self.leave_out(at, &error)?,
            Parsed::Invalid(error) if self.form == Form::Lines => {
                self.skip_line()?;
                malformed(at, &error)
            }
            Parsed::Invalid(error) => return Err(self.not_json(at, &error)),
        };
        self.is_behind_row = true;
        Ok(Some(row))
    }

    /// Goes to where the next row begins; false at the end.
    fn go_to_row(&mut self) -> Result<bool, SourceError> {
        let sign = self.peek()?;
        let (at, sign) = match (self.form, sign) {
            (Form::Lines, sign) => return Ok(sign.is_some()),
            (Form::Array, None) => return Err(SourceError::NotClosed),
            (Form::Array, Some(sign)) => (self.position(), sign),
        };
        match (sign, self.is_behind_row) {
            (b']', _) => self.close().map(|()| false),
            (b',', true) => {
                self.next += 1;
                // Else a comma before the bracket would pass.
                let follows = self.peek()?.is_some_and(|sign| sign != b']');
                follows
                    .then_some(true)
                    .ok_or(SourceError::NoRow(self.position()))
            }
            (_, true) => Err(SourceError::NoComma(at)),
            (_, false) => Ok(true),
        }
    }

    fn close(&mut self) -> Result<(), SourceError> {
        self.next += 1;
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(SourceError::BehindArray(self.position())),
        }
    }

    /// The next byte that is no white space, which is left where it is.
    fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        loop {
            let rest = &self.buffer[self.next..self.filled];
            if let Some(spaces) = rest.iter().position(|sign| !sign.is_ascii_whitespace()) {
                self.next += spaces;
                return Ok(Some(self.buffer[self.next]));
            }
            self.next = self.filled;
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    /// Reads a value, and goes behind it.
    fn parse<T: DeserializeOwned>(&mut self) -> Result<Parsed<T>, SourceError> {
        loop {
            let rest = &self.buffer[self.next..self.filled];
            let mut values = Deserializer::from_slice(rest).into_iter::<T>();
            let parsed = match values.next() {
                Some(Ok(value)) => Parsed::Value(value),
                Some(Err(error)) => Parsed::Invalid(error),
                None => return Err(SourceError::NoRow(self.position())),
            };
            let end = values.byte_offset();
            // A number may go on behind the buffer, and what is cut off looks like an error.
            let is_cut = match &parsed {
                Parsed::Value(_) => end == rest.len(),
                Parsed::Invalid(error) => !error.is_data() && is_at_end(error, rest),
            };
            if is_cut && self.read_more()? {
                continue;
            }
            if let Parsed::Value(_) = parsed {
                self.next += end;
            }
            return Ok(parsed);
        }
    }

    /// Goes behind a row that is JSON, and no call.
    fn leave_out(&mut self, at: u64, why: &serde_json::Error) -> Result<Row, SourceError> {
        match self.parse::<IgnoredAny>()? {
            Parsed::Value(_) => {}
            Parsed::Invalid(_) if self.form == Form::Lines => self.skip_line()?,
            Parsed::Invalid(error) => return Err(self.not_json(at, &error)),
        }
        Ok(malformed(at, why))
    }

    /// Goes behind the end of the line.
    fn skip_line(&mut self) -> Result<(), SourceError> {
        loop {
            if let Some(rest) = memchr(b'\n', &self.buffer[self.next..self.filled]) {
                self.next += rest + 1;
                return Ok(());
            }
            self.next = self.filled;
            if !self.read_more()? {
                return Ok(());
            }
        }
    }

    /// Reads on behind what is not read yet; false at the end of the source, and if the buffer is full of one row.
    fn read_more(&mut self) -> Result<bool, SourceError> {
        if self.input_ended {
            return Ok(false);
        }
        self.buffer.copy_within(self.next..self.filled, 0);
        self.buffer_at += self.next as u64;
        self.filled -= self.next;
        self.next = 0;
        if self.is_full() {
            return Ok(false);
        }
        let read = read(&mut self.input, &mut self.buffer[self.filled..]);
        let read = read.map_err(SourceError::Unreadable)?;
        self.filled += read;
        self.input_ended = read == 0;
        Ok(!self.input_ended)
    }

    fn is_full(&self) -> bool {
        self.filled - self.next == BUFFER_BYTES
    }

    /// What is wrong with a row of an array that cannot be read.
    fn not_json(&self, at: u64, why: &serde_json::Error) -> SourceError {
        if self.is_full() {
            return SourceError::RowTooLong(at, BUFFER_BYTES);
        }
        SourceError::NotJson {
            at,
            reason: why.to_string(),
        }
    }
}

/// What a value turned out to be.
enum Parsed<T> {
    Value(T),
    Invalid(serde_json::Error),
}

/// Whether an error lies at the end of what there is. A number that is cut off, as in `-` or `1e`, is no end to the parser.
fn is_at_end(error: &serde_json::Error, rest: &[u8]) -> bool {
    let last_line = memrchr(b'\n', rest).map_or(rest, |end| &rest[end + 1..]);
    error.is_eof() || error.column() >= last_line.len()
}

fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn malformed(at: u64, why: &serde_json::Error) -> Row {
    Row::Malformed {
        at,
        reason: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    /// The phones of the calls, and the places of the malformed rows.
    type PhonesAndPlaces = (Vec<u64>, Vec<u64>);

    fn read_all(text: &str, at_once: usize) -> Result<PhonesAndPlaces, SourceError> {
        let mut calls = JsonCalls::new(Trickle(text.as_bytes(), at_once))?;
        let (mut phones, mut places) = (Vec::new(), Vec::new());
        while let Some(row) = calls.next_row()? {
            match row {
                Row::Call(call) => phones.push(call.phone.number()),
                Row::Malformed { at, .. } => places.push(at),
            }
        }
        assert!(calls.next_row()?.is_none(), "the end is the end");
        Ok((phones, places))
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
            for at_once in [1, 7, 1 << 20] {
                let read = read_all(text, at_once).expect("it is well-formed");
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
            assert!(!matches!(error, SourceError::Unreadable(_)), "{error}");
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
        assert!(matches!(read, Err(SourceError::RowTooLong(1, _))));
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
            let mut second = JsonCalls::new(Trickle(text.as_bytes(), 3)).expect("it is well-formed");
            second.skip_to(first.position()).expect("it is as long");
            let mut rest = Vec::new();
            while let Some(Row::Call(call)) = second.next_row().expect("it is well-formed") {
                rest.push(call.phone.number());
            }
            prop_assert_eq!(rest, &phones[before..]);
        }
    }
}
