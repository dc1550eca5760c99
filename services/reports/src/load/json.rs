//! Calls from JSON: an array of them, or one after the other, as in JSON Lines. What is read lies in a buffer of a fixed
//! size, however long the source is.

use std::io::{self, Read};

use memchr::{memchr, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;
use xxhash_rust::xxh3::Xxh3;

use crate::call::Call;
use crate::error::Error;

/// Bytes that are read at once; also the longest row. A call takes some seventy.
const BUFFER_BYTES: usize = 1 << 20;
/// Some programs begin a text in UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Why JSON that is no object is no row; serde would take an array for a call.
const NO_OBJECT: &str = r#"a row is an object like {"phone": 1, "start_date": 1684957028364, "end_date": 1684957031364}"#;

/// What surrounds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[`, commas, `]`. What is no JSON ends it, as nobody can tell where the next row begins.
    Array,
    /// Nothing: the next row begins on the next line, whatever stands on this one.
    Lines,
}

/// A row of a source.
#[derive(Debug)]
pub(super) enum Row {
    Call(Call),
    /// No call; it begins at this byte.
    Malformed {
        at: u64,
        reason: String,
    },
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
    /// Of what lies before the first `hashed` bytes of the buffer, and of these.
    hash: Xxh3,
    hashed: usize,
    input_ended: bool,
    form: Form,
    /// Whether a comma must stand before the next row.
    is_behind_row: bool,
    ended: bool,
    /// Where a load goes on if the source grows, where that is not its end: at a last line that is no call and has no end, as
    /// the rest of it may be missing; at the white space behind an array.
    go_on_at: Option<Place>,
}

/// A place behind a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The first byte behind it.
    pub(super) position: u64,
    /// The hash of all bytes before.
    pub(super) hash: u128,
}

impl<R: Read> JsonCalls<R> {
    /// Begins at the start of a source.
    pub(super) fn new(input: R) -> Result<Self, Error> {
        let mut calls = Self {
            input,
            buffer: vec![0; BUFFER_BYTES].into(),
            filled: 0,
            next: 0,
            buffer_at: 0,
            hash: Xxh3::new(),
            hashed: 0,
            input_ended: false,
            form: Form::Lines,
            is_behind_row: false,
            ended: false,
            go_on_at: None,
        };
        while calls.filled < BYTE_ORDER_MARK.len() && calls.read_more()? {}
        if calls.buffer[..calls.filled].starts_with(BYTE_ORDER_MARK) {
            calls.next = BYTE_ORDER_MARK.len();
        }
        if calls.peek()? == Some(b'[') {
            calls.form = Form::Array;
            calls.next += 1;
        }
        Ok(calls)
    }

    /// Goes on at a position that [`Self::place`] gave behind a row or, if there were no more, at the end; false if the source
    /// is shorter.
    pub(super) fn skip_to(&mut self, position: u64, is_end: bool) -> Result<bool, Error> {
        while self.buffer_at + (self.filled as u64) < position {
            self.next = self.filled;
            if !self.read_more()? {
                return Ok(false);
            }
        }
        let offset = position.saturating_sub(self.buffer_at);
        self.next = usize::try_from(offset).expect("it lies in the buffer");
        self.is_behind_row = true;
        if is_end && self.form == Form::Array {
            self.ended = true;
            self.go_on_at = Some(self.reached());
        }
        Ok(true)
    }

    /// Where a load goes on.
    pub(super) fn place(&mut self) -> Place {
        self.go_on_at.unwrap_or_else(|| self.reached())
    }

    /// The first byte that is not read yet.
    fn position(&self) -> u64 {
        self.buffer_at + self.next as u64
    }

    /// Why it cannot be read on here.
    fn broken(&self, why: &str) -> Error {
        Error::Source(format!("{why} {}", self.position()))
    }

    fn reached(&mut self) -> Place {
        self.hash.update(&self.buffer[self.hashed..self.next]);
        self.hashed = self.next;
        Place {
            position: self.position(),
            hash: self.hash.digest128(),
        }
    }

    /// The next row; `None` behind the last one.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if self.ended {
            // Behind the bracket of an array.
            return match self.peek()? {
                Some(_) if self.form == Form::Array => {
                    Err(self.broken("there is more behind the array, at byte"))
                }
                _ => Ok(None),
            };
        }
        if !self.go_to_row()? {
            self.ended = true;
            return Ok(None);
        }
        let at = self.position();
        let call = if self.buffer[self.next] == b'{' {
            self.parse::<Call>()?
        } else {
            Parsed::Other(NO_OBJECT.to_owned())
        };
        let row = match call {
            Parsed::Value(call) => Row::Call(call),
            Parsed::Other(reason) => match self.parse::<IgnoredAny>()? {
                Parsed::Broken(why) => self.leave_broken(at, why)?,
                _ => Row::Malformed { at, reason },
            },
            Parsed::Broken(why) => self.leave_broken(at, why)?,
        };
        self.is_behind_row = true;
        Ok(Some(row))
    }

    /// Goes to where the next row begins; false at the end.
    fn go_to_row(&mut self) -> Result<bool, Error> {
        let sign = self.peek()?;
        let sign = match (self.form, sign) {
            (Form::Lines, sign) => return Ok(sign.is_some()),
            (Form::Array, None) => {
                let why = "it ends before its array does: is it complete?";
                return Err(Error::Source(why.to_owned()));
            }
            (Form::Array, Some(sign)) => sign,
        };
        match (sign, self.is_behind_row) {
            (b']', _) => {
                self.next += 1;
                self.ended = true;
                self.go_on_at = Some(self.reached());
                self.next_row().map(|_none| false)
            }
            (b',', true) => {
                self.next += 1;
                // Else a comma before the bracket would pass.
                let follows = self.peek()?.is_some_and(|sign| sign != b']');
                follows
                    .then_some(true)
                    .ok_or_else(|| self.broken("no row at byte"))
            }
            (_, true) => Err(self.broken("no comma, and no end of the array, at byte")),
            (_, false) => Ok(true),
        }
    }

    /// The next byte that is no white space, which is left where it is.
    fn peek(&mut self) -> Result<Option<u8>, Error> {
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

    /// Reads a value, and goes behind it if it is one.
    fn parse<T: DeserializeOwned>(&mut self) -> Result<Parsed<T>, Error> {
        loop {
            let rest = &self.buffer[self.next..self.filled];
            let mut values = Deserializer::from_slice(rest).into_iter::<T>();
            let Some(parsed) = values.next() else {
                return Err(self.broken("no row at byte"));
            };
            let end = values.byte_offset();
            // A number may go on behind the buffer, and what is cut off looks like an error.
            let is_cut = match &parsed {
                Ok(_) => end == rest.len(),
                Err(error) => !error.is_data() && is_at_end(error, rest),
            };
            if is_cut && self.read_more()? {
                continue;
            }
            return Ok(match parsed {
                Ok(value) => {
                    self.next += end;
                    Parsed::Value(value)
                }
                Err(_) if is_cut && self.is_full() => Parsed::Broken(format!(
                    "it takes more than {BUFFER_BYTES} bytes, the most of a row"
                )),
                Err(error) if error.is_data() => Parsed::Other(error.to_string()),
                Err(error) => Parsed::Broken(error.to_string()),
            });
        }
    }

    /// Goes behind a row that cannot be read: on a line of its own that is possible.
    fn leave_broken(&mut self, at: u64, reason: String) -> Result<Row, Error> {
        match self.form {
            Form::Lines => self.skip_line().map(|()| Row::Malformed { at, reason }),
            Form::Array => Err(Error::Source(format!(
                "the row at byte {at} cannot be read as JSON: {reason}"
            ))),
        }
    }

    /// Goes behind the end of the line.
    fn skip_line(&mut self) -> Result<(), Error> {
        let begin = self.reached();
        loop {
            if let Some(rest) = memchr(b'\n', &self.buffer[self.next..self.filled]) {
                self.next += rest + 1;
                return Ok(());
            }
            self.next = self.filled;
            if !self.read_more()? {
                self.go_on_at = Some(begin);
                return Ok(());
            }
        }
    }

    /// Reads on behind what is not read yet; false at the end of the source, and if the buffer is full of one row.
    fn read_more(&mut self) -> Result<bool, Error> {
        if self.input_ended {
            return Ok(false);
        }
        self.reached();
        self.buffer.copy_within(self.next..self.filled, 0);
        self.buffer_at += self.next as u64;
        self.filled -= self.next;
        self.next = 0;
        self.hashed = 0;
        if self.is_full() {
            return Ok(false);
        }
        let read = read(&mut self.input, &mut self.buffer[self.filled..]);
        let read = read.map_err(|error| Error::Source(format!("cannot read on: {error}")))?;
        self.filled += read;
        self.input_ended = read == 0;
        Ok(!self.input_ended)
    }

    fn is_full(&self) -> bool {
        self.filled - self.next == BUFFER_BYTES
    }
}

/// What a value turned out to be.
enum Parsed<T> {
    Value(T),
    /// It is JSON, and no `T`, for this reason.
    Other(String),
    /// It is no JSON, or its end does not fit into the buffer.
    Broken(String),
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

#[cfg(test)]
mod tests;
