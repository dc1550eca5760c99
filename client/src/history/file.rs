//! Writes and reads a history as a file of JSON lines. The first line holds the settings; the last line holds the number of
//! requests, and the pages that the replicas returned after them; each other line holds a request with its whole reply. `client
//! check` gives the same verdict on the file as the run did. A file that a run left incomplete is judged as far as it goes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    FinishedRequest, History, JudgeSettings, Op, Outcome, PageReply, Phase, Reason, Recorder,
    digest,
};
use crate::error::Error;
use crate::output::{NewFile, print_warning};

/// The version of the file format, which changes if a field changes its meaning.
const VERSION: u32 = 1;
/// The greatest number of a coroutine that is read: the judge's table of coroutines is as long as the greatest number.
const MAX_COROUTINE: u32 = 1_000_000;
/// The size of the file's buffer: large enough for few writes, and small enough for none of them to take long.
const BUFFER_BYTES: usize = 1 << 18;
/// The time between two flushes, in nanoseconds of the run. A crash loses at most the requests of this time.
const FLUSH_INTERVAL_NS: u64 = 100_000_000;

/// The first line of a history.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    history_version: u32,
    seed: u64,
    #[serde(flatten)]
    settings: JudgeSettings,
}

/// The last line of a history.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    requests: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pages: Vec<PageReply>,
}

/// The line of one request.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    coroutine: u32,
    request: u32,
    phase: Phase,
    user: String,
    text: String,
    /// The index of the replica among those of the first line.
    replica: u16,
    attempts: u8,
    intended_ns: u64,
    start_ns: u64,
    end_ns: u64,
    outcome: OutcomeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// How many attempts were answered with a 200 that is not JSON by its header, or is too long; or not with HTTP.
    #[serde(default, skip_serializing_if = "is_zero")]
    unreadable: u8,
    /// The reply as received, if it is a JSON array or object in one line.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reply: Option<&'a RawValue>,
    /// The reply as text, if it is anything else in UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The bytes of a reply that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeKind {
    Ok,
    Failed,
    Unknown,
}

/// Writes a history file during the run.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    requests: u64,
    /// The pages that the last line will hold.
    pub(super) pages: Vec<PageReply>,
    flushed_ns: u64,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl Writer {
    /// Creates a writer, and writes the first line.
    pub(crate) fn new(file: NewFile, seed: u64, settings: JudgeSettings) -> Self {
        let mut writer = Self {
            path: file.path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file.file),
            requests: 0,
            pages: Vec::new(),
            flushed_ns: 0,
            error: None,
        };
        writer.write_line(&Header {
            history_version: VERSION,
            seed,
            settings,
        });
        writer
    }

    /// Writes a request. After an error the run goes on, and [`Self::finish`] returns the error.
    pub(super) fn write_request(&mut self, op: &Op, user: &str, done: &FinishedRequest<'_>) {
        let (outcome, reason) = match op.outcome {
            Outcome::Ok => (OutcomeKind::Ok, None),
            Outcome::Failed(reason) => (OutcomeKind::Failed, Some(reason)),
            Outcome::Unknown(reason) => (OutcomeKind::Unknown, Some(reason)),
        };
        let reply = done
            .reply
            .map(|bytes| std::str::from_utf8(bytes).map_err(|_utf8| bytes));
        let (body, bytes) = (reply.and_then(Result::ok), reply.and_then(Result::err));
        let raw = body
            .filter(|body| body.trim_start().starts_with(['[', '{']) && !body.contains('\n'))
            .and_then(|body| serde_json::from_str(body).ok());
        self.requests += 1;
        self.write_line(&Line {
            coroutine: op.coroutine,
            request: op.request,
            phase: op.phase,
            user: user.to_owned(),
            text: done.text.to_owned(),
            replica: op.replica,
            attempts: op.attempts,
            intended_ns: op.intended_ns,
            start_ns: op.start_ns,
            end_ns: op.end_ns,
            outcome,
            reason,
            unreadable: done.unreadable,
            reply: raw,
            body: body.filter(|_| raw.is_none()).map(str::to_owned),
            bytes: bytes.map(<[u8]>::to_vec),
        });
        if op.end_ns.saturating_sub(self.flushed_ns) > FLUSH_INTERVAL_NS {
            self.flushed_ns = op.end_ns;
            self.flush();
        }
    }

    fn write_line(&mut self, value: &impl Serialize) {
        if self.error.is_none() {
            let written = serde_json::to_writer(&mut self.file, value).map_err(io::Error::from);
            self.error = written.and_then(|()| self.file.write_all(b"\n")).err();
        }
    }

    /// Writes the buffer to the file.
    pub(super) fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.file.flush().err();
        }
    }

    /// Writes the last line; fails if any write failed.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let pages = std::mem::take(&mut self.pages);
        self.write_line(&End {
            requests: self.requests,
            pages,
        });
        self.flush();
        let error = self.error.map(Error::file(&self.path));
        error.map_or(Ok(()), Err)
    }
}

/// Reads a history from a file. It counts as shared if `shared` is true or its first line says so.
pub(crate) fn read(path: &Path, shared: bool) -> Result<History, Error> {
    let invalid = |reason: String| Error::Content {
        path: path.to_owned(),
        reason,
    };
    let failed = Error::file(path);
    let file = File::open(path).map_err(failed)?;
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, file).split(b'\n');
    let first = lines
        .next()
        .ok_or_else(|| invalid("it is empty".to_owned()))?;
    let header = parse_header(&first.map_err(failed)?, shared).map_err(invalid)?;
    let mut recorder = Recorder::new(header.settings.clone(), 0, true, None);
    let mut lines = (2..).zip(lines).peekable();
    let mut end = None;
    while let Some((number, bytes)) = lines.next() {
        let bytes = bytes.map_err(failed)?;
        let is_last = lines.peek().is_none();
        match serde_json::from_slice::<Line<'_>>(&bytes) {
            Ok(line) => record_line(&mut recorder, &header, &line)
                .map_err(|reason| invalid(format!("line {number}: {reason}")))?,
            Err(error) if is_last => {
                end = parse_end(&bytes, &header, recorder.count());
                if end.is_none() && !error.is_eof() {
                    return Err(invalid(format!("line {number}: {error}")));
                }
            }
            Err(error) => return Err(invalid(format!("line {number}: {error}"))),
        }
    }
    let is_truncated = end.is_none();
    for page in end.into_iter().flat_map(|end| end.pages) {
        recorder.record_page(page);
    }
    if is_truncated {
        print_warning(&format!(
            "{} was not written to its end: what is not in it is neither missed nor counted",
            path.display()
        ));
    }
    let history = recorder.finish();
    Ok(History {
        is_truncated,
        ..history
    })
}

fn parse_header(line: &[u8], shared: bool) -> Result<Header, String> {
    let mut header: Header = serde_json::from_slice(line)
        .map_err(|error| format!("line 1 is no header of a history: {error}"))?;
    if header.history_version != VERSION {
        return Err(format!(
            "version {}, but this client reads {VERSION}",
            header.history_version
        ));
    }
    header.settings.shared |= shared;
    Ok(header)
}

/// Parses the last line; none if the line is not one, or does not match the header and the number of requests.
fn parse_end(line: &[u8], header: &Header, requests: usize) -> Option<End> {
    let end: End = serde_json::from_slice(line).ok()?;
    let replicas = header.settings.replicas.len();
    let is_known = |page: &PageReply| usize::from(page.replica) < replicas;
    let is_valid = end.requests == requests as u64 && end.pages.iter().all(is_known);
    is_valid.then_some(end)
}

fn record_line(recorder: &mut Recorder, header: &Header, line: &Line<'_>) -> Result<(), String> {
    let user = recorder.user_number(&line.user);
    let user = user.ok_or_else(|| format!("the header knows no user {:?}", line.user))?;
    if usize::from(line.replica) >= header.settings.replicas.len() {
        return Err(format!("the header knows no replica {}", line.replica));
    }
    if line.coroutine > MAX_COROUTINE {
        return Err(format!("a coroutine's number is at most {MAX_COROUTINE}"));
    }
    if line.end_ns < line.start_ns {
        return Err("it ends before it starts".to_owned());
    }
    let reply = line
        .reply
        .map(|raw| raw.get().as_bytes())
        .or(line.body.as_deref().map(str::as_bytes))
        .or(line.bytes.as_deref());
    let outcome = match (line.outcome, line.reason) {
        // The reply is parsed again, even if the run could not parse it.
        (_, _) if reply.is_some() => Outcome::Ok,
        (OutcomeKind::Ok, _) => return Err("answered, but without its reply".to_owned()),
        (OutcomeKind::Failed, Some(reason)) => Outcome::Failed(reason),
        (OutcomeKind::Unknown, Some(reason)) => Outcome::Unknown(reason),
        (OutcomeKind::Failed | OutcomeKind::Unknown, None) => {
            return Err("not answered, but without a reason".to_owned());
        }
    };
    let op = Op {
        intended_ns: line.intended_ns,
        start_ns: line.start_ns,
        end_ns: line.end_ns,
        seq: 0,
        text: digest(&line.text),
        coroutine: line.coroutine,
        request: line.request,
        user,
        outcome,
        replica: line.replica,
        attempts: line.attempts,
        phase: line.phase,
    };
    recorder.record(&FinishedRequest {
        op,
        text: &line.text,
        reply,
        unreadable: line.unreadable,
    });
    Ok(())
}
