//! A history as a file: JSON lines, the first one tells the settings, each other one a request with its whole reply.
//! What a run writes, `client check` judges as the run did.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Done, History, Op, Outcome, Phase, Reason, Recorder, Setting, digest};
use crate::error::Error;

/// Changes with the meaning of a field.
const VERSION: u32 = 1;
/// The judge keeps a table of them.
const MOST_COROUTINES: u32 = 1_000_000;
/// Few writes, and none of them long.
const BUFFER: usize = 1 << 18;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    history_version: u32,
    pub(crate) seed: u64,
    #[serde(flatten)]
    pub(crate) setting: Setting,
}

impl Header {
    pub(crate) fn new(seed: u64, setting: Setting) -> Self {
        Self {
            history_version: VERSION,
            seed,
            setting,
        }
    }
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    coroutine: u32,
    request: u32,
    phase: Phase,
    user: String,
    text: String,
    /// Index among the replicas of the first line.
    replica: u16,
    attempts: u8,
    intended_ns: u64,
    start_ns: u64,
    end_ns: u64,
    outcome: Fate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The reply as it came.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reply: Option<&'a RawValue>,
    /// The reply where it is no JSON of one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Ok,
    Failed,
    Unknown,
}

/// Writes a history while it happens.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    /// The first fault; nothing is written after it.
    fault: Option<io::Error>,
}

impl Writer {
    /// Begins a new file.
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(BUFFER, file),
            fault: None,
        };
        writer.line(header);
        Ok(writer)
    }

    /// Writes a request down. A fault is told at the end: the run goes on.
    pub(super) fn note(&mut self, op: &Op, user: &str, text: &str, reply: Option<&[u8]>) {
        let (outcome, reason) = match op.outcome {
            Outcome::Ok => (Fate::Ok, None),
            Outcome::Failed(reason) => (Fate::Failed, Some(reason)),
            Outcome::Unknown(reason) => (Fate::Unknown, Some(reason)),
        };
        let raw = reply
            .filter(|bytes| !bytes.contains(&b'\n'))
            .and_then(|bytes| serde_json::from_slice(bytes).ok());
        let body = reply
            .filter(|_| raw.is_none())
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.line(&Line {
            coroutine: op.coroutine,
            request: op.request,
            phase: op.phase,
            user: user.to_owned(),
            text: text.to_owned(),
            replica: op.replica,
            attempts: op.attempts,
            intended_ns: op.intended_ns,
            start_ns: op.start_ns,
            end_ns: op.end_ns,
            outcome,
            reason,
            reply: raw,
            body,
        });
    }

    fn line(&mut self, value: &impl Serialize) {
        if self.fault.is_none() {
            let written = serde_json::to_writer(&mut self.file, value).map_err(io::Error::from);
            self.fault = written.and_then(|()| self.file.write_all(b"\n")).err();
        }
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        let flushed = self.fault.take().map_or_else(|| self.file.flush(), Err);
        flushed.map_err(|source| Error::File {
            path: self.path,
            source,
        })
    }
}

/// Reads a file back. `shared` is added to what its first line says.
pub(crate) fn read(path: &Path, shared: bool) -> Result<(Header, History), Error> {
    let broken = |reason: String| Error::Content {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let mut lines = BufReader::with_capacity(BUFFER, file).lines();
    let first = lines
        .next()
        .ok_or_else(|| broken("it is empty".to_owned()))?;
    let first = first.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let mut header: Header = serde_json::from_str(&first)
        .map_err(|error| broken(format!("line 1 is no header of a history: {error}")))?;
    if header.history_version != VERSION {
        return Err(broken(format!(
            "version {}, but this client reads {VERSION}",
            header.history_version
        )));
    }
    header.setting.shared |= shared;
    let mut recorder = Recorder::new(header.setting.clone(), 0, true);
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let line: Line<'_> = serde_json::from_str(&line)
            .map_err(|error| broken(format!("line {number}: {error}")))?;
        take(&mut recorder, &header, &line)
            .map_err(|reason| broken(format!("line {number}: {reason}")))?;
    }
    Ok((header, recorder.finish()))
}

fn take(recorder: &mut Recorder, header: &Header, line: &Line<'_>) -> Result<(), String> {
    let user = header
        .setting
        .users
        .iter()
        .position(|user| *user == line.user);
    let user = user.ok_or_else(|| format!("the header knows no user {:?}", line.user))?;
    if usize::from(line.replica) >= header.setting.replicas.len() {
        return Err(format!("the header knows no replica {}", line.replica));
    }
    if line.coroutine > MOST_COROUTINES {
        return Err(format!("a coroutine's number is at most {MOST_COROUTINES}"));
    }
    if line.end_ns < line.start_ns {
        return Err("it ends before it starts".to_owned());
    }
    let reply = line
        .reply
        .map(|raw| raw.get().as_bytes())
        .or(line.body.as_deref().map(str::as_bytes));
    let outcome = match (line.outcome, line.reason) {
        // A reply is judged anew, also one that the run could not read.
        (_, _) if reply.is_some() => Outcome::Ok,
        (Fate::Ok, _) => return Err("answered, but without its reply".to_owned()),
        (Fate::Failed, Some(reason)) => Outcome::Failed(reason),
        (Fate::Unknown, Some(reason)) => Outcome::Unknown(reason),
        (Fate::Failed | Fate::Unknown, None) => {
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
        user: u32::try_from(user).unwrap_or(u32::MAX),
        outcome,
        replica: line.replica,
        attempts: line.attempts,
        phase: line.phase,
    };
    recorder.record(&Done {
        op,
        text: &line.text,
        reply,
    });
    Ok(())
}
