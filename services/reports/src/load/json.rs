//! Calls from JSON: an array of them, or one after the other, as in JSON Lines. What is read lies in a buffer of a fixed
//! size, however long the source is.

use std::io::{self, Read};

use memchr::{memchr, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;

use crate::call::Call;
use crate::error::SourceError;

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
mod tests;
