//! Parses replies. About ten replies show the same message, nearly always as the same bytes. So each message is parsed once, and
//! later replies are compared with the cached bytes: one comparison for all cached messages of a reply.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use memchr::memchr2;
use serde::Deserialize;

use super::cache::MessageCache;
use super::{History, NONE, SeenMessage, ShownMessage, WINDOW, digest};

/// The most foreign texts that are kept for explanations.
const MAX_FOREIGN_TEXTS: usize = 1000;
/// The most characters that are kept of a foreign text.
const MAX_FOREIGN_CHARS: usize = 80;
/// The most messages that are parsed of one reply: far more than the contract allows, so that the explanation can show them.
const MAX_MESSAGES_READ: usize = 100 * WINDOW;

/// A message on the wire. The type is not shared with the server, because a bug in it would go unnoticed if both had it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct WireMessage<'a> {
    seq: u64,
    #[serde(borrow)]
    user: Cow<'a, str>,
    user_seq: u64,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    sent_at: Cow<'a, str>,
}

/// A parser that collects the messages of replies in a [`History`].
#[derive(Debug, Default)]
pub(super) struct Reader {
    cache: MessageCache,
    /// The messages of the current reply.
    window: Vec<ShownMessage>,
    /// For each message of the window, its index in [`History::seen`], or [`NONE`] until it is added there.
    places: Vec<u32>,
    /// The messages of the window that are not in the cache: index in the window, and range of bytes in the reply.
    uncached: Vec<(usize, Range<usize>)>,
    /// The date that was parsed last, as text and in microseconds. Messages that are stored together share their date.
    last_date: (String, i64),
}

impl Reader {
    /// Parses the reply to request number `op`, and adds its messages to [`History::seen`]. Returns the messages, and their
    /// indices there.
    ///
    /// # Errors
    /// What is wrong with the reply. Nothing is added then.
    pub(super) fn read(
        &mut self,
        reply: &[u8],
        op: u32,
        history: &mut History,
    ) -> Result<(&[ShownMessage], &[u32]), String> {
        self.parse(reply, history)?;
        for place in self.places.iter().filter(|place| **place != NONE) {
            history.seen[*place as usize].replies += 1;
        }
        for (position, range) in self.uncached.drain(..) {
            let shown = self.window[position];
            let place = u32::try_from(history.seen.len()).unwrap_or(NONE);
            history.seen.push(SeenMessage {
                shown,
                replies: 1,
                witness: op,
                author: NONE,
            });
            self.places[position] = place;
            self.cache.insert(shown, place, &reply[range]);
        }
        Ok((&self.window, &self.places))
    }

    /// Parses a page and returns its messages, which are not added to [`History::seen`]; or returns what is wrong with it.
    pub(super) fn read_page(
        &mut self,
        body: &[u8],
        history: &mut History,
    ) -> Result<Vec<ShownMessage>, String> {
        self.parse(body, history)?;
        Ok(self.window.clone())
    }

    fn parse(&mut self, reply: &[u8], history: &mut History) -> Result<(), String> {
        self.window.clear();
        self.places.clear();
        self.uncached.clear();
        let mut at = skip_space(reply, 0);
        if reply.get(at) != Some(&b'[') {
            return Err("the body is not a JSON array".to_owned());
        }
        at = skip_space(reply, at + 1);
        let mut expected = guess_seq(&reply[at..]);
        if reply.get(at) == Some(&b']') {
            return expect_end(reply, at + 1);
        }
        while self.window.len() < MAX_MESSAGES_READ {
            let cached = expected.and_then(|seq| self.take_cached(&reply[at..], seq));
            at = match cached {
                Some(length) => at + length,
                None => self.parse_message(reply, at, history)?,
            };
            expected = self.window.last().map(|shown| shown.seq + 1);
            at = skip_space(reply, at);
            match reply.get(at) {
                Some(b',') => at = skip_space(reply, at + 1),
                Some(b']') => return expect_end(reply, at + 1),
                Some(_) => return Err(format!("no comma after message {}", self.window.len())),
                None => return Err("the body ends in the middle of the array".to_owned()),
            }
        }
        Err(format!("more than {MAX_MESSAGES_READ} messages"))
    }

    /// Takes adjacent cached messages, from the number `seq` on and up to a full window, if the bytes begin with all of them.
    /// Returns their length in bytes.
    fn take_cached(&mut self, bytes: &[u8], seq: u64) -> Option<usize> {
        let most = WINDOW.saturating_sub(self.window.len());
        let (count, length) = self.cache.match_bytes(bytes, seq, most)?;
        for cached in (seq..).take(count).filter_map(|seq| self.cache.get(seq)) {
            self.window.push(cached.shown);
            self.places.push(cached.seen);
        }
        Some(length)
    }

    /// Parses the message that begins at `at`; returns where it ends.
    fn parse_message(
        &mut self,
        reply: &[u8],
        at: usize,
        history: &mut History,
    ) -> Result<usize, String> {
        let which = self.window.len() + 1;
        let (wire, length) =
            parse(&reply[at..]).map_err(|error| format!("message {which}: {error}"))?;
        let shown = self
            .validate(&wire, history)
            .map_err(|error| format!("message {which}: {error}"))?;
        match self.cache.get(shown.seq) {
            Some(cached) if cached.shown == shown => self.places.push(cached.seen),
            _ => {
                self.places.push(NONE);
                self.uncached.push((self.window.len(), at..at + length));
            }
        }
        self.window.push(shown);
        Ok(at + length)
    }

    /// Checks the fields of a message, and converts them.
    fn validate(
        &mut self,
        wire: &WireMessage<'_>,
        history: &mut History,
    ) -> Result<ShownMessage, String> {
        if [wire.seq, wire.user_seq]
            .iter()
            .any(|number| matches!(number, 0 | &u64::MAX))
        {
            return Err("numbers begin at 1, and none is the greatest of 64 bits".to_owned());
        }
        if wire.sent_at != self.last_date.0 {
            self.last_date = (wire.sent_at.to_string(), microseconds(&wire.sent_at)?);
        }
        let text = digest(&wire.text);
        if !wire.text.starts_with(&history.settings.tag)
            && history.foreign.len() < MAX_FOREIGN_TEXTS
        {
            history
                .foreign
                .entry(text)
                .or_insert_with(|| wire.text.chars().take(MAX_FOREIGN_CHARS).collect());
        }
        Ok(ShownMessage {
            seq: wire.seq,
            text,
            user_seq: wire.user_seq,
            sent_at_us: self.last_date.1,
            user: history.names.number(&wire.user),
        })
    }
}

/// Parses the message that the bytes begin with; returns it and its length.
fn parse(bytes: &[u8]) -> Result<(WireMessage<'_>, usize), String> {
    if let Some(parsed) = parse_fast(bytes) {
        return Ok(parsed);
    }
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter();
    match stream.next() {
        Some(Ok(wire)) => Ok((wire, stream.byte_offset())),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the body ends before it".to_owned()),
    }
}

/// Parses a message in the servers' own format only (no spaces, fields in order), in a fifth of the time that serde needs.
fn parse_fast(bytes: &[u8]) -> Option<(WireMessage<'_>, usize)> {
    let (seq, rest) = plain_number(bytes.strip_prefix(b"{\"seq\":")?)?;
    let (user, rest) = plain_string(rest.strip_prefix(b",\"user\":")?)?;
    let (user_seq, rest) = plain_number(rest.strip_prefix(b",\"user_seq\":")?)?;
    let (text, rest) = plain_string(rest.strip_prefix(b",\"text\":")?)?;
    let (sent_at, rest) = plain_string(rest.strip_prefix(b",\"sent_at\":")?)?;
    let rest = rest.strip_prefix(b"}")?;
    let wire = WireMessage {
        seq,
        user,
        user_seq,
        text,
        sent_at,
    };
    Some((wire, bytes.len() - rest.len()))
}

/// Parses a number greater than 0; returns it and the bytes after it.
fn plain_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let (digits, rest) = bytes.split_at(bytes.iter().take_while(is_digit).count());
    if matches!(digits, [] | [b'0', ..]) {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add((digit - b'0').into())
    });
    Some((number?, rest))
}

/// Parses a string; returns it and the bytes after it. Only a string with a backslash needs a JSON parser.
fn plain_string(bytes: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let (string, rest) = bytes.strip_prefix(b"\"").and_then(|inner| {
        let end = memchr2(b'"', b'\\', inner)?;
        inner.split_at_checked(end)
    })?;
    if let Some(rest) = rest.strip_prefix(b"\"") {
        let least = string.iter().fold(u8::MAX, |least, byte| least.min(*byte));
        let is_allowed = least >= b' ';
        return is_allowed.then_some((std::str::from_utf8(string).ok()?.into(), rest));
    }
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<String>();
    let string = stream.next()?.ok()?;
    Some((string.into(), &bytes[stream.byte_offset()..]))
}

/// Parses a date of RFC 3339, which must be in UTC, into microseconds since 1970.
fn microseconds(date: &str) -> Result<i64, String> {
    let instant = DateTime::<FixedOffset>::parse_from_rfc3339(date)
        .map_err(|error| format!("sent_at {date:?}: {error}"))?;
    if instant.offset().local_minus_utc() != 0 {
        return Err(format!("sent_at {date:?} is not UTC"));
    }
    Ok(instant.timestamp_micros())
}

fn expect_end(reply: &[u8], at: usize) -> Result<(), String> {
    if skip_space(reply, at) == reply.len() {
        Ok(())
    } else {
        Err("something follows the array".to_owned())
    }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Returns the `seq` of the first message, if it is in the servers' own format. It is only a hint for the lookup in the cache,
/// which then compares the bytes.
fn guess_seq(bytes: &[u8]) -> Option<u64> {
    plain_number(bytes.strip_prefix(b"{\"seq\":")?).map(|(seq, _)| seq)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(seq: u64, text: &str) -> String {
        format!(
            r#"{{"seq":{seq},"user":"bob","user_seq":1,"text":"{text}","sent_at":"2026-11-20T15:21:37.038997Z"}}"#
        )
    }

    fn read(replies: &[String]) -> (History, Vec<Result<Vec<ShownMessage>, String>>) {
        let (mut reader, mut history) = (Reader::default(), History::default());
        let results = replies
            .iter()
            .map(|reply| {
                reader
                    .read(reply.as_bytes(), 0, &mut history)
                    .map(|(window, _)| window.to_vec())
            })
            .collect();
        (history, results)
    }

    #[test]
    fn a_message_shown_in_many_replies_is_kept_once() {
        let replies: Vec<String> = (1..=20_u64)
            .map(|last| {
                let window: Vec<_> = (last.saturating_sub(9).max(1)..=last)
                    .map(|seq| message(seq, "hi"))
                    .collect();
                format!("[{}]", window.join(","))
            })
            .collect();
        let (history, results) = read(&replies);
        assert_eq!(history.seen.len(), 20);
        assert_eq!(history.seen[0].replies, 10);
        assert_eq!(results[19].as_ref().map(Vec::len), Ok(10));
    }

    #[test]
    fn other_spelling_is_the_same_message_and_other_content_is_not() {
        let spaced = message(1, "hi")
            .replace(':', " : ")
            .replace("15 : 21 : 37", "15:21:37")
            .replace("hi", "\\u0068i");
        let (history, results) = read(&[
            format!("[{}]", message(1, "hi")),
            format!(" [ {spaced} ] "),
            format!("[{}]", message(1, "ho")),
        ]);
        assert_eq!(results[0], results[1]);
        assert_ne!(results[0], results[2]);
        assert_eq!(history.seen.len(), 2);
    }

    proptest! {
        /// The fast parser accepts nothing that a JSON parser rejects, and gives the same result.
        #[test]
        fn the_quick_way_and_a_json_parser_agree(
            parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..6),
            cut in prop::sample::select(vec![0, 0, 0, 1, 30]),
        ) {
            let mut bytes = message(7, "")
                .replace("\"text\":\"", &format!("\"text\":\"{}", parts.concat()))
                .into_bytes();
            bytes.truncate(bytes.len() - cut);
            let mut stream = serde_json::Deserializer::from_slice(&bytes).into_iter();
            let expected = match stream.next() {
                Some(Ok(wire)) => Some((wire, stream.byte_offset())),
                _ => None,
            };
            prop_assert_eq!(parse(&bytes).ok(), expected);
        }
    }

    const PARTS: [&str; 12] = [
        "a", "é", "🎉", "\\\"", "\\\\", "\\u0068", "\\ud800", "\t", "\n", "\"", "\\", " ",
    ];

    #[test]
    fn what_is_no_array_of_messages_is_refused_and_leaves_nothing() {
        let good = message(1, "hi");
        for bad in [
            String::new(),
            "garbage".to_owned(),
            "[".to_owned(),
            format!("[{good}"),
            format!("[{good},]"),
            format!("[{good}{good}]"),
            format!("[{good}] x"),
            format!("[{}]", good.replace("\"seq\":1", "\"seq\":\"1\"")),
            format!("[{}]", good.replace("\"seq\":1", "\"seq\":1.5")),
            format!("[{}]", good.replace("\"seq\":1", "\"seq\":0")),
            format!(
                "[{}]",
                good.replace("\"user_seq\":1", &format!("\"user_seq\":{}", u64::MAX))
            ),
            format!("[{}]", good.replace("\"user\":\"bob\",", "")),
            format!("[{}]", good.replace("2026-11-20T", "2026-11-20Q")),
            format!("[{}]", good.replace("997Z", "997+01:00")),
            format!("[{good},{}]", good.replace("hi", "\\ud800")),
        ] {
            let (history, results) = read(std::slice::from_ref(&bad));
            assert!(results[0].is_err(), "{bad}");
            assert!(history.seen.is_empty(), "{bad}");
        }
        let unknown_field = good.replace("\"seq\"", "\"more\":[1],\"seq\"");
        assert!(read(&[format!("[{unknown_field}]")]).1[0].is_ok());
        assert_eq!(read(&["[]".to_owned()]).1[0], Ok(Vec::new()));
    }
}
