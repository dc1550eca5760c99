//! Reads replies. Ten neighbouring replies show the same message, nearly always as the same bytes: these are parsed once
//! and compared afterwards, which costs a fortieth.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use serde::Deserialize;

use super::{History, Seen, Shown, WINDOW, digest};

/// Recent messages to compare with: more than are under way at once, and small enough to stay in the cache.
const RECENT: usize = 4096;
/// Longer texts are not kept for comparison, which bounds the memory.
const LONGEST_KEPT: usize = 1024;
/// Foreign texts kept to be shown in a contradiction, and characters of each.
const MOST_FOREIGN: usize = 1000;
const FOREIGN_LENGTH: usize = 80;
/// A window is read on beyond its limit so far, to say what is wrong with it.
const MOST_READ: usize = 100 * WINDOW;

/// A message on the wire. A type of the client's own: shared with the server, one bug would hide another.
#[derive(Deserialize)]
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

/// Reads replies into a [`History`].
#[derive(Debug)]
pub(super) struct Reader {
    recent: Vec<Recent>,
    window: Vec<Shown>,
    /// Beside each message of the window, where it is kept.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Default)]
struct Recent {
    shown: Option<Shown>,
    bytes: Vec<u8>,
    /// Index in [`History::seen`].
    seen: u32,
}

#[derive(Debug, Clone)]
enum Place {
    Known(u32),
    /// First shown here, in these bytes of the reply.
    New(Range<usize>),
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            recent: vec![Recent::default(); RECENT],
            window: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The messages of a reply, which are noted in the history as shown to request number `op`; or what is wrong with it.
    pub(super) fn read(
        &mut self,
        reply: &[u8],
        op: u32,
        history: &mut History,
    ) -> Result<&[Shown], String> {
        self.parse(reply, history)?;
        for (shown, place) in self.window.iter().zip(&self.places) {
            match place {
                Place::Known(seen) => history.seen[*seen as usize].replies += 1,
                Place::New(range) => {
                    let seen = u32::try_from(history.seen.len()).unwrap_or(u32::MAX);
                    history.seen.push(Seen {
                        shown: *shown,
                        replies: 1,
                        witness: op,
                    });
                    let recent = &mut self.recent[slot(shown.seq)];
                    recent.shown = Some(*shown);
                    recent.seen = seen;
                    recent.bytes.clear();
                    if range.len() <= LONGEST_KEPT {
                        recent.bytes.extend_from_slice(&reply[range.clone()]);
                    }
                }
            }
        }
        Ok(&self.window)
    }

    fn parse(&mut self, reply: &[u8], history: &mut History) -> Result<(), String> {
        self.window.clear();
        self.places.clear();
        let mut at = skip_space(reply, 0);
        if reply.get(at) != Some(&b'[') {
            return Err("the body is not a JSON array".to_owned());
        }
        at = skip_space(reply, at + 1);
        let mut expected = guess_seq(&reply[at..]);
        if reply.get(at) == Some(&b']') {
            return end(reply, at + 1);
        }
        while self.window.len() < MOST_READ {
            at = match self.recall(&reply[at..], expected) {
                Some(length) => at + length,
                None => self.parse_message(reply, at, history)?,
            };
            expected = self.window.last().map(|shown| shown.seq + 1);
            at = skip_space(reply, at);
            match reply.get(at) {
                Some(b',') => at = skip_space(reply, at + 1),
                Some(b']') => return end(reply, at + 1),
                Some(_) => return Err(format!("no comma after message {}", self.window.len())),
                None => return Err("the body ends in the middle of the array".to_owned()),
            }
        }
        Err(format!("more than {MOST_READ} messages"))
    }

    /// If the bytes begin with the message `seq` as it was shown before: takes it, and gives its length.
    fn recall(&mut self, bytes: &[u8], seq: Option<u64>) -> Option<usize> {
        let recent = &self.recent[slot(seq?)];
        let shown = recent.shown.filter(|shown| Some(shown.seq) == seq)?;
        if recent.bytes.is_empty() || !bytes.starts_with(&recent.bytes) {
            return None;
        }
        self.window.push(shown);
        self.places.push(Place::Known(recent.seen));
        Some(recent.bytes.len())
    }

    /// Parses the message that begins at `at`; gives where it ends.
    fn parse_message(
        &mut self,
        reply: &[u8],
        at: usize,
        history: &mut History,
    ) -> Result<usize, String> {
        let which = self.window.len() + 1;
        let mut stream =
            serde_json::Deserializer::from_slice(&reply[at..]).into_iter::<WireMessage<'_>>();
        let wire = match stream.next() {
            Some(Ok(wire)) => wire,
            Some(Err(error)) => return Err(format!("message {which}: {error}")),
            None => return Err("the body ends in the middle of the array".to_owned()),
        };
        let end = at + stream.byte_offset();
        let shown =
            understand(&wire, history).map_err(|error| format!("message {which}: {error}"))?;
        let recent = &self.recent[slot(shown.seq)];
        let known = recent.shown == Some(shown);
        self.places.push(if known {
            Place::Known(recent.seen)
        } else {
            Place::New(at..end)
        });
        self.window.push(shown);
        Ok(end)
    }
}

fn understand(wire: &WireMessage<'_>, history: &mut History) -> Result<Shown, String> {
    if wire.seq == 0 || wire.user_seq == 0 || wire.seq == u64::MAX {
        return Err("numbers begin at 1".to_owned());
    }
    let sent_at = DateTime::<FixedOffset>::parse_from_rfc3339(&wire.sent_at)
        .map_err(|error| format!("sent_at {:?}: {error}", wire.sent_at))?;
    if sent_at.offset().local_minus_utc() != 0 {
        return Err(format!("sent_at {:?} is not UTC", wire.sent_at));
    }
    let text = digest(&wire.text);
    if !wire.text.starts_with(&history.setting.tag) && history.foreign.len() < MOST_FOREIGN {
        history
            .foreign
            .entry(text)
            .or_insert_with(|| wire.text.chars().take(FOREIGN_LENGTH).collect());
    }
    Ok(Shown {
        seq: wire.seq,
        text,
        user_seq: wire.user_seq,
        sent_at_us: sent_at.timestamp_micros(),
        user: history.names.number(&wire.user),
    })
}

fn end(reply: &[u8], at: usize) -> Result<(), String> {
    if skip_space(reply, at) == reply.len() {
        Ok(())
    } else {
        Err("something follows the array".to_owned())
    }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    from + bytes[from.min(bytes.len())..]
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
        .count()
}

/// The first number in the usual spelling. Only a hint where to look: what is found there is compared byte by byte.
fn guess_seq(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b"{\"seq\":")?;
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

fn slot(seq: u64) -> usize {
    usize::try_from(seq % RECENT as u64).expect("less than RECENT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64, text: &str) -> String {
        format!(
            r#"{{"seq":{seq},"user":"bob","user_seq":1,"text":"{text}","sent_at":"2026-11-20T15:21:37.038997Z"}}"#
        )
    }

    fn read(replies: &[String]) -> (History, Vec<Result<Vec<Shown>, String>>) {
        let (mut reader, mut history) = (Reader::new(), History::default());
        let results = replies
            .iter()
            .map(|reply| {
                reader
                    .read(reply.as_bytes(), 0, &mut history)
                    .map(<[Shown]>::to_vec)
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
