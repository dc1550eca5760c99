//! Where results go: stdout or files. Whatever else there is to say goes to stderr.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::report::Style;

/// A place for results. A file is opened before there are any, so that a wrong path costs no run.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Output {
    /// Begins a new file; without a path it is stdout.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Error> {
        path.map_or(Ok(Self::Stdout), Self::create)
    }

    /// Begins a new file.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        match File::create(path) {
            Ok(file) => Ok(Self::File {
                path: path.to_owned(),
                file,
            }),
            Err(source) => Err(Error::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Colours are for a terminal.
    pub(crate) fn style(&self) -> Style {
        match self {
            Self::Stdout if wants_color(&io::stdout()) => Style::Colored,
            Self::Stdout | Self::File { .. } => Style::Plain,
        }
    }

    pub(crate) fn write(self, text: &str) -> Result<(), Error> {
        match self {
            Self::Stdout => print(text.as_bytes()),
            Self::File { path, mut file } => file
                .write_all(text.as_bytes())
                .map_err(|source| Error::File { path, source }),
        }
    }
}

/// To stdout. A reader that left early is no fault.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// To stderr: `kind` is what it is, as `warning`.
pub(crate) fn say(kind: &str, message: &str) {
    let mut stderr = io::stderr().lock();
    let written = if wants_color(&stderr) {
        writeln!(stderr, "\x1b[1;33m{kind}:\x1b[0m {message}")
    } else {
        writeln!(stderr, "{kind}: {message}")
    };
    // If stderr is gone, nobody is left to tell.
    drop(written);
}

fn wants_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
