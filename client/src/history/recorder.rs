//! Turns finished requests into a [`History`], one at a time, as they come in.

use super::file::Writer;
use super::reader::Reader;
use super::{
    History, Irregular, JudgeSettings, Op, Outcome, Page, PageAnswer, PageReply, Reason, WINDOW,
    is_regular, own_position,
};
use crate::error::Error;

/// The most unreadable replies whose fault is kept in words.
const MAX_FAULTS: usize = 100;
/// The fault of a reply that was not even taken for one.
const NO_JSON: &str =
    "it is not application/json as its Content-Type says, or longer than 4 MiB, or not HTTP";

/// A recorder that collects the requests of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    history: History,
    /// The reader of replies; absent if they are not looked at.
    reader: Option<Reader>,
    /// The writer of a history file, if there is one.
    writer: Option<Writer>,
}

/// A finished request.
#[derive(Debug)]
pub(crate) struct FinishedRequest<'a> {
    /// The request, whose `seq` is not known yet.
    pub(crate) op: Op,
    pub(crate) text: &'a str,
    /// The body of a 200.
    pub(crate) reply: Option<&'a [u8]>,
    /// How many attempts were answered with a 200 without any JSON, or no HTTP.
    pub(crate) unreadable: u8,
}

impl Recorder {
    /// Creates a recorder with memory for `expected` requests, which it writes to a file as well if there is a writer.
    pub(crate) fn new(
        settings: JudgeSettings,
        expected: usize,
        check: bool,
        writer: Option<Writer>,
    ) -> Self {
        let mut history = History {
            settings,
            window: WINDOW,
            ops: Vec::with_capacity(expected),
            ..History::default()
        };
        if check {
            history.seen.reserve_exact(expected + WINDOW);
        }
        for user in history.settings.users.clone() {
            history.names.number(&user);
        }
        Self {
            history,
            reader: check.then(Reader::default),
            writer,
        }
    }

    /// Takes replies of another length for full ones.
    pub(crate) fn with_window(mut self, window: usize) -> Self {
        self.history.window = window;
        self
    }

    /// Takes a finished request; returns its outcome, which for a 200 depends on its body.
    pub(crate) fn record(&mut self, finished: &FinishedRequest<'_>) -> Outcome {
        let FinishedRequest {
            mut op,
            reply,
            unreadable,
            ..
        } = *finished;
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
            writer.write_request(&op, user, finished);
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
            writer.pages.push(page);
        }
    }

    fn unreadable(&mut self, op: u32, fault: &str) {
        self.history.unreadable += 1;
        if self.history.faults.len() < MAX_FAULTS {
            self.history.faults.push((op, fault.to_owned()));
        }
    }

    /// Returns the index of a user of the run.
    pub(super) fn user(&self, name: &str) -> Option<u32> {
        let number = self.history.names.find(name)?;
        // Replies may have shown others.
        ((number as usize) < self.history.settings.users.len()).then_some(number)
    }

    /// Returns how many requests were taken so far.
    pub(crate) fn count(&self) -> usize {
        self.history.ops.len()
    }

    /// Writes what is still in memory to the file.
    pub(crate) fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.flush();
        }
    }

    /// Ends the file; fails if something could not be written.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.writer.take().map_or(Ok(()), Writer::finish)
    }

    /// Returns the history of all that was taken, each message once.
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
