//! Prints results to stdout or to files, and everything else to stderr.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The style of text output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text has no colors, as files and programs want it.
    Plain,
    /// Text has colors, as terminals show them.
    Colored,
}

/// A file that was opened to take results.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// Opens the files for results before there are any, so that a wrong path costs no run. All are opened before one of
/// them loses what it held, so that no older file is lost to a run that cannot begin. The file that was `read` is refused.
pub(crate) fn create<const N: usize>(
    paths: [Option<&Path>; N],
    read: Option<&Path>,
) -> Result<[Option<NewFile>; N], Error> {
    let mut files = [const { None }; N];
    let read = read.and_then(|path| path.metadata().ok());
    let mut taken: Vec<_> = read.iter().map(|file| (file.dev(), file.ino())).collect();
    for (file, path) in files.iter_mut().zip(paths) {
        let Some(path) = path else { continue };
        let fault = Error::file(path);
        let new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        let about = new.metadata().map_err(fault)?;
        // A terminal, a pipe or /dev/null takes as much as one likes.
        if about.is_file() {
            let identity = (about.dev(), about.ino());
            if taken.contains(&identity) {
                return Err(Error::FileTaken(path.to_owned()));
            }
            taken.push(identity);
        }
        *file = Some(NewFile {
            path: path.to_owned(),
            file: new,
        });
    }
    for NewFile { path, file } in files.iter().flatten() {
        let fault = Error::file(path);
        if file.metadata().map_err(fault)?.is_file() {
            file.set_len(0).map_err(fault)?;
        }
    }
    Ok(files)
}

impl NewFile {
    pub(crate) fn write(mut self, text: &str) -> Result<(), Error> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(Error::file(&self.path))
    }
}

/// Writes to stdout. A reader that left early is no error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Prints a warning to stderr.
pub(crate) fn print_warning(message: &str) {
    print_diagnostic("warning", message);
}

/// Prints to stderr why a command could not do its work.
pub(crate) fn print_error(error: &Error) {
    print_diagnostic("error", &error.to_string());
}

fn print_diagnostic(kind: &str, message: &str) {
    let mut stderr = io::stderr().lock();
    let written = if wants_color(&stderr) {
        writeln!(stderr, "\x1b[1;33m{kind}:\x1b[0m {message}")
    } else {
        writeln!(stderr, "{kind}: {message}")
    };
    // If stderr is gone, nobody is left to tell.
    drop(written);
}

/// Returns whether a stream is to be written to in colors: only a terminal is.
pub(crate) fn wants_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
