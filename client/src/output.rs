//! Prints results to stdout or to files, and everything else to stderr.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The style of text output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without colors, for files and programs.
    Plain,
    /// With colors, for terminals.
    Colored,
}

/// A file that was opened for results.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// Opens the files for results before the run, so that no run is lost because of a wrong path. All are opened before the first
/// is truncated, so that no older content is lost if the run cannot start. Fails if two paths, or a path and the file that was
/// `read`, are the same file.
pub(crate) fn create<const N: usize>(
    paths: [Option<&Path>; N],
    read: Option<&Path>,
) -> Result<[Option<NewFile>; N], Error> {
    let mut files = [const { None }; N];
    let read = read.and_then(|path| path.metadata().ok());
    let mut taken: Vec<_> = read.iter().map(|file| (file.dev(), file.ino())).collect();
    for (file, path) in files.iter_mut().zip(paths) {
        let Some(path) = path else { continue };
        let io_error = Error::file(path);
        let new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error)?;
        let metadata = new.metadata().map_err(io_error)?;
        // A terminal, a pipe or /dev/null may take several results.
        if metadata.is_file() {
            let identity = (metadata.dev(), metadata.ino());
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
        let io_error = Error::file(path);
        if file.metadata().map_err(io_error)?.is_file() {
            file.set_len(0).map_err(io_error)?;
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

/// Writes to stdout. It is no error if the reader has closed the pipe.
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
    // If stderr is closed, the message is lost: there is no other place for it.
    drop(written);
}

/// Returns whether a stream gets colors: if it is a terminal, and `NO_COLOR` is unset or empty.
pub(crate) fn wants_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
