//! Builds a [`History`] from finished requests, one at a time.

use super::file::Writer;
use super::reader::Reader;
use super::{
    History, IrregularReply, JudgeSettings, Op, Outcome, Page, PageAnswer, PageReply, Reason,
    WINDOW, is_regular, own_position,
};
use crate::error::Error;

/// The most unreadable replies whose fault is described.
const MAX_FAULTS: usize = 100;
/// The fault of an answer that was not even parsed.
const NOT_JSON: &str =
    "it is not application/json as its Content-Type says, or longer than 4 MiB, or not HTTP";

/// A recorder that collects the requests of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    history: History,
    /// The reader of replies; absent if replies are not checked.
    reader: Option<Reader>,
    /// The writer of the history file, if one was asked for.
    writer: Option<Writer>,
}

/// A finished request.
#[derive(Debug)]
pub(crate) struct FinishedRequest<'a> {
    /// The request; its `seq` is not known yet.
    pub(crate) op: Op,
    pub(crate) text: &'a str,
    /// The body of a 200.
    pub(crate) reply: Option<&'a [u8]>,
    /// How many attempts were answered with a 200 that is not JSON by its header, or is too long; or not with HTTP.
    pub(crate) unreadable: u8,
}

impl Recorder {
    /// Creates a recorder with memory for `expected` requests. With a `writer`, it also writes them to a file.
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

    /// Sets the number of messages in a full reply.
    pub(crate) fn with_window(mut self, window: usize) -> Self {
        self.history.window = window;
        self
    }

    /// Records a finished request; returns its outcome, which for a 200 depends on the body.
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
                            .push(IrregularReply { op: number, window });
                    }
                }
                Err(fault) => {
                    op.outcome = Reason::Unreadable.outcome();
                    self.record_unreadable(number, &fault);
                }
            }
        }
        for _ in 0..unreadable {
            self.record_unreadable(number, NOT_JSON);
        }
        if let Some(writer) = &mut self.writer {
            let user = self.history.names.name(op.user);
            writer.write_request(&op, user, finished);
        }
        self.history.ops.push(op);
        op.outcome
    }

    /// Records a page that was requested at the end.
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

    fn record_unreadable(&mut self, op: u32, fault: &str) {
        self.history.unreadable += 1;
        if self.history.faults.len() < MAX_FAULTS {
            self.history.faults.push((op, fault.to_owned()));
        }
    }

    /// Returns the number of one of the run's own users.
    pub(super) fn user_number(&self, name: &str) -> Option<u32> {
        let number = self.history.names.find(name)?;
        // Greater numbers belong to other users whom replies have shown.
        ((number as usize) < self.history.settings.users.len()).then_some(number)
    }

    /// Returns how many requests were recorded so far.
    pub(crate) fn count(&self) -> usize {
        self.history.ops.len()
    }

    /// Flushes the history file.
    pub(crate) fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.flush();
        }
    }

    /// Completes the history file; fails if any part of it could not be written.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.writer.take().map_or(Ok(()), Writer::finish)
    }

    /// Returns the history, with each distinct message once.
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
