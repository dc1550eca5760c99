//! Turns finished requests into a [`History`], one at a time, as they come in.

use super::file::Writer;
use super::reader::Reader;
use super::{
    History, Irregular, Op, Outcome, Page, PageAnswer, PageReply, Reason, Setting, Window,
    is_regular, own_position,
};
use crate::error::Error;

/// Unreadable replies whose fault is kept in words.
const MOST_FAULTS: usize = 100;
/// The fault of a reply that was not even taken for one.
const NO_JSON: &str =
    "it is not application/json as its Content-Type says, or longer than 4 MiB, or not HTTP";

/// Collects the requests of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    history: History,
    /// None if replies are not looked at.
    reader: Option<Reader>,
    /// Where everything is written down as well.
    writer: Option<Writer>,
}

/// A finished request.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    /// `seq` is not known yet.
    pub(crate) op: Op,
    pub(crate) text: &'a str,
    /// The body of a 200.
    pub(crate) reply: Option<&'a [u8]>,
    /// Attempts whose answer was a 200 without any JSON, or no HTTP.
    pub(crate) unreadable: u8,
}

impl Recorder {
    /// `expected` requests will come, as far as one knows.
    pub(crate) fn new(setting: Setting, expected: usize, check: bool) -> Self {
        let mut history = History {
            setting,
            ops: Vec::with_capacity(expected),
            ..History::default()
        };
        if check {
            history.seen.reserve_exact(expected + super::WINDOW);
        }
        for user in history.setting.users.clone() {
            history.names.number(&user);
        }
        Self {
            history,
            reader: check.then(Reader::new),
            writer: None,
        }
    }

    /// Takes replies of other lengths for full ones.
    pub(crate) fn with_window(mut self, window: Window) -> Self {
        self.history.window = window;
        self
    }

    /// Writes down every request as well.
    pub(crate) fn write_to(mut self, writer: Option<Writer>) -> Self {
        self.writer = writer;
        self
    }

    /// Takes a finished request; gives what became of it, which for a 200 depends on its body.
    pub(crate) fn record(&mut self, done: &Done<'_>) -> Outcome {
        let Done {
            mut op,
            reply,
            unreadable,
            ..
        } = *done;
        let number = u32::try_from(self.history.ops.len()).unwrap_or(u32::MAX);
        if let (Some(reader), Some(reply)) = (&mut self.reader, reply) {
            match reader.read(reply, number, &mut self.history) {
                Ok((window, places)) => {
                    if let Some(own) = own_position(window, op.text) {
                        op.seq = window[own].seq;
                        let author = &mut self.history.seen[places[own] as usize].author;
                        *author = number.min(*author);
                    }
                    if !is_regular(window, &op, self.history.window) {
                        let window = window.to_vec();
                        self.history
                            .irregular
                            .push(Irregular { op: number, window });
                    }
                }
                Err(fault) => {
                    op.outcome = Reason::Unreadable.outcome();
                    self.unreadable(number, &fault);
                }
            }
        }
        for _ in 0..unreadable {
            self.unreadable(number, NO_JSON);
        }
        if let Some(writer) = &mut self.writer {
            let user = self.history.names.name(op.user);
            writer.note(&op, user, done);
        }
        self.history.ops.push(op);
        op.outcome
    }

    /// Takes a page that was asked for at the end.
    pub(crate) fn record_page(&mut self, page: PageReply) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let messages = match &page.answer {
            PageAnswer::Body(body) => reader.read_page(body.as_bytes(), &mut self.history),
            PageAnswer::NotJudged(reason) => Err(reason.clone()),
        };
        self.history.pages.push(Page {
            replica: page.replica,
            start_ns: page.start_ns,
            end_ns: page.end_ns,
            messages,
        });
        if let Some(writer) = &mut self.writer {
            writer.note_page(page);
        }
    }

    fn unreadable(&mut self, op: u32, fault: &str) {
        self.history.unreadable += 1;
        if self.history.faults.len() < MOST_FAULTS {
            self.history.faults.push((op, fault.to_owned()));
        }
    }

    /// The index of a user of the run.
    pub(super) fn user(&self, name: &str) -> Option<u32> {
        let number = self.history.names.find(name)?;
        // Replies may have shown others.
        ((number as usize) < self.history.setting.users.len()).then_some(number)
    }

    /// Requests taken so far.
    pub(crate) fn count(&self) -> usize {
        self.history.ops.len()
    }

    /// Leaves nothing of what was written down in memory.
    pub(crate) fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.flush();
        }
    }

    /// Ends the writing down; fails if something could not be written.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.writer.take().map_or(Ok(()), Writer::finish)
    }

    /// More requests were sent than were taken.
    pub(super) fn mark_cut(&mut self) {
        self.history.cut = true;
    }

    /// All that was taken, each message once.
    pub(crate) fn finish(self) -> History {
        let mut history = self.history;
        history.seen.sort_unstable_by_key(|seen| seen.shown.seq);
        // Few numbers are claimed more than once.
        for claims in history
            .seen
            .chunk_by_mut(|one, other| one.shown.seq == other.shown.seq)
        {
            claims.sort_unstable_by_key(|seen| (seen.shown, seen.witness));
        }
        history.seen.dedup_by(|later, first| {
            let same = later.shown == first.shown;
            if same {
                first.replies = first.replies.saturating_add(later.replies);
                first.author = first.author.min(later.author);
            }
            same
        });
        history
    }
}
