//! Parses calls from JSON: an array, or one call after the other, as in JSON Lines. The buffer has a fixed size, however long the
//! source is.

use std::io::{self, Read};

use memchr::{memchr, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;
use xxhash_rust::xxh3::Xxh3;

use crate::call::Call;
use crate::error::Error;

/// Size of the buffer, and the longest row. A call takes some 70 bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// The byte order mark of UTF-8, with which some programs begin a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The reason for JSON that is not an object, which must be checked because serde would accept an array as a call.
const NOT_AN_OBJECT: &str = r#"a row is an object like {"phone": 1, "start_date": 1684957028364, "end_date": 1684957031364}"#;

/// How rows are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[`, commas, `]`. Invalid JSON is an error, because the start of the next row cannot be found.
    Array,
    /// Nothing. After invalid JSON, the next row begins on the next line.
    Lines,
}

/// A row of a source.
#[derive(Debug)]
pub(super) enum Row {
    Call(Call),
    /// Not a call; the row begins at byte `at`.
    Malformed {
        at: u64,
        reason: String,
    },
}

/// Reads the rows of a source, and tracks the position.
pub(super) struct JsonCalls<R> {
    input: R,
    buffer: Box<[u8]>,
    /// The number of bytes in the buffer.
    filled: usize,
    /// The offset in the buffer of the first byte that is not parsed yet.
    next: usize,
    /// The position of the buffer in the source.
    buffer_position: u64,
    /// The hash of all bytes before the buffer, and of its first `hashed` bytes.
    hash: Xxh3,
    hashed: usize,
    input_ended: bool,
    form: Form,
    /// Whether a comma is expected before the next row.
    is_after_row: bool,
    ended: bool,
    /// Where a load resumes if the source grows, if that is not at its end: at the start of a last line that is not JSON and has
    /// no line feed, because its rest may be missing; at the white space after an array.
    resume_at: Option<Checkpoint>,
}

/// A position after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The index of the first byte after the row.
    pub(super) position: u64,
    /// The hash of all bytes before `position`.
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
            buffer_position: 0,
            hash: Xxh3::new(),
            hashed: 0,
            input_ended: false,
            form: Form::Lines,
            is_after_row: false,
            ended: false,
            resume_at: None,
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

    /// Continues at the position of a [`Self::checkpoint`] after a row or, with `is_end`, after the last row. False if the source
    /// is shorter.
    pub(super) fn skip_to(&mut self, position: u64, is_end: bool) -> Result<bool, Error> {
        while self.buffer_position + (self.filled as u64) < position {
            self.next = self.filled;
            if !self.read_more()? {
                return Ok(false);
            }
        }
        let offset = position.saturating_sub(self.buffer_position);
        self.next = usize::try_from(offset).expect("it lies in the buffer");
        self.is_after_row = true;
        if is_end && self.form == Form::Array {
            self.ended = true;
            self.resume_at = Some(self.current_checkpoint());
        }
        Ok(true)
    }

    /// Where a load resumes.
    pub(super) fn checkpoint(&mut self) -> Checkpoint {
        self.resume_at.unwrap_or_else(|| self.current_checkpoint())
    }

    /// The position in the source of the first byte that is not parsed yet.
    fn position(&self) -> u64 {
        self.buffer_position + self.next as u64
    }

    /// An error at the current position.
    fn error_here(&self, reason: &str) -> Error {
        Error::Source(format!("{reason} {}", self.position()))
    }

    fn current_checkpoint(&mut self) -> Checkpoint {
        self.hash_parsed();
        Checkpoint {
            position: self.position(),
            hash: self.hash.digest128(),
        }
    }

    fn hash_parsed(&mut self) {
        self.hash.update(&self.buffer[self.hashed..self.next]);
        self.hashed = self.next;
    }

    /// The next row; `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if self.ended {
            // After the closing bracket of an array.
            return match self.peek()? {
                Some(_) if self.form == Form::Array => {
                    Err(self.error_here("there is more behind the array, at byte"))
                }
                _ => Ok(None),
            };
        }
        if !self.skip_to_row()? {
            self.ended = true;
            return Ok(None);
        }
        let at = self.position();
        let call = if self.buffer[self.next] == b'{' {
            self.parse::<Call>()?
        } else {
            Parsed::WrongType(NOT_AN_OBJECT.to_owned())
        };
        let row = match call {
            Parsed::Value(call) => Row::Call(call),
            Parsed::WrongType(reason) => match self.parse::<IgnoredAny>()? {
                Parsed::Invalid(reason) => self.skip_invalid(at, reason)?,
                _ => Row::Malformed { at, reason },
            },
            Parsed::Invalid(reason) => self.skip_invalid(at, reason)?,
        };
        self.is_after_row = true;
        Ok(Some(row))
    }

    /// Skips to the start of the next row; false at the end.
    fn skip_to_row(&mut self) -> Result<bool, Error> {
        let byte = self.peek()?;
        let byte = match (self.form, byte) {
            (Form::Lines, byte) => return Ok(byte.is_some()),
            (Form::Array, None) => {
                let reason = "it ends before its array does: is it complete?";
                return Err(Error::Source(reason.to_owned()));
            }
            (Form::Array, Some(byte)) => byte,
        };
        match (byte, self.is_after_row) {
            (b']', _) => {
                self.next += 1;
                self.ended = true;
                self.resume_at = Some(self.current_checkpoint());
                self.next_row().map(|_none| false)
            }
            (b',', true) => {
                self.next += 1;
                // A comma before the closing bracket is an error.
                let follows = self.peek()?.is_some_and(|byte| byte != b']');
                follows
                    .then_some(true)
                    .ok_or_else(|| self.error_here("no row at byte"))
            }
            (_, true) => Err(self.error_here("no comma, and no end of the array, at byte")),
            (_, false) => Ok(true),
        }
    }

    /// Skips white space. Returns the next byte without consuming it; `None` at the end.
    fn peek(&mut self) -> Result<Option<u8>, Error> {
        loop {
            let unparsed = &self.buffer[self.next..self.filled];
            if let Some(spaces) = unparsed.iter().position(|byte| !byte.is_ascii_whitespace()) {
                self.next += spaces;
                return Ok(Some(self.buffer[self.next]));
            }
            self.next = self.filled;
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    /// Parses a value, and consumes it if it is a `T`.
    fn parse<T: DeserializeOwned>(&mut self) -> Result<Parsed<T>, Error> {
        loop {
            let unparsed = &self.buffer[self.next..self.filled];
            let mut values = Deserializer::from_slice(unparsed).into_iter::<T>();
            let Some(parsed) = values.next() else {
                return Err(self.error_here("no row at byte"));
            };
            let end = values.byte_offset();
            // A number may continue after the buffer, and a value that is cut off looks like an error.
            let is_cut = match &parsed {
                Ok(_) => end == unparsed.len(),
                Err(error) => !error.is_data() && is_at_end(error, unparsed),
            };
            if is_cut && self.read_more()? {
                continue;
            }
            return Ok(match parsed {
                Ok(value) => {
                    self.next += end;
                    Parsed::Value(value)
                }
                Err(_) if is_cut && self.is_full() => Parsed::Invalid(format!(
                    "it takes more than {BUFFER_BYTES} bytes, the most of a row"
                )),
                Err(error) if error.is_data() => Parsed::WrongType(error.to_string()),
                Err(error) => Parsed::Invalid(error.to_string()),
            });
        }
    }

    /// Skips a row that is not JSON, which is possible only if it is on its own line.
    fn skip_invalid(&mut self, at: u64, reason: String) -> Result<Row, Error> {
        match self.form {
            Form::Lines => self.skip_line().map(|()| Row::Malformed { at, reason }),
            Form::Array => Err(Error::Source(format!(
                "the row at byte {at} cannot be read as JSON: {reason}"
            ))),
        }
    }

    /// Skips to the next line.
    fn skip_line(&mut self) -> Result<(), Error> {
        let begin = self.current_checkpoint();
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.next..self.filled]) {
                self.next += length + 1;
                return Ok(());
            }
            self.next = self.filled;
            if !self.read_more()? {
                self.resume_at = Some(begin);
                return Ok(());
            }
        }
    }

    /// Drops parsed bytes from the buffer and reads more. False at the end of the source, or if one row fills the buffer.
    fn read_more(&mut self) -> Result<bool, Error> {
        if self.input_ended {
            return Ok(false);
        }
        self.hash_parsed();
        self.buffer.copy_within(self.next..self.filled, 0);
        self.buffer_position += self.next as u64;
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

/// The result of parsing a value.
enum Parsed<T> {
    Value(T),
    /// It is JSON, but not a `T`; the reason.
    WrongType(String),
    /// It is not JSON, or does not fit into the buffer; the reason.
    Invalid(String),
}

/// Whether an error is at the end of `text`. The column is checked because the parser does not report a number that is cut off,
/// as in `-` or `1e`, as the end of the input.
fn is_at_end(error: &serde_json::Error, text: &[u8]) -> bool {
    let last_line = memrchr(b'\n', text).map_or(text, |end| &text[end + 1..]);
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
