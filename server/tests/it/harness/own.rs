//! A database server of the test's own, to be killed, frozen, and filled up.

use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use faults::DatabaseProcess;
use tempfile::TempDir;

use super::Database;

/// Running, with an empty database in it.
pub(crate) struct OwnDatabase {
    process: DatabaseProcess,
    database: Database,
    folder: TempDir,
}

impl OwnDatabase {
    /// None if there is no server's program here; then the test says so, and ends.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|process| process)
    }

    /// With settings of the test's own.
    pub(crate) fn start_with(
        settings: impl FnOnce(DatabaseProcess) -> DatabaseProcess,
    ) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("dm-test-").tempdir();
        let folder = folder.expect("a folder can be made");
        Self::start_in(folder, settings)
    }

    /// In a folder that the test has prepared.
    pub(crate) fn start_in(
        folder: TempDir,
        settings: impl FnOnce(DatabaseProcess) -> DatabaseProcess,
    ) -> Option<Self> {
        let Some(program) = DatabaseProcess::program() else {
            skip("no mariadbd or mysqld was found; DATABASE_SERVER may name one");
            return None;
        };
        let template = template(&program).expect("data can be made");
        copy(&template.join("data"), &folder.path().join("data"));
        let process = DatabaseProcess::on(&program, folder.path());
        let mut process = settings(process.expect("the folder is there"));
        process.start().expect("the database starts");
        let database = Database::of(&process);
        Some(Self {
            process,
            database,
            folder,
        })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

impl Deref for OwnDatabase {
    type Target = DatabaseProcess;

    fn deref(&self) -> &DatabaseProcess {
        &self.process
    }
}

impl DerefMut for OwnDatabase {
    fn deref_mut(&mut self) -> &mut DatabaseProcess {
        &mut self.process
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let _ = writeln!(io::stderr(), "log of the database:\n{log}");
        }
    }
}

/// Says that a test is skipped, and why, also where the output of tests that pass is not shown.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// Data of an empty server, made once, as that takes seconds; tests copy it.
fn template(program: &Path) -> io::Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let version = DatabaseProcess::version(program)?;
    let name: String = version
        .chars()
        .map(|sign| {
            if sign.is_ascii_alphanumeric() {
                sign
            } else {
                '-'
            }
        })
        .collect();
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !template.exists() {
        // Under another name first, so that an interrupted run leaves no half of it.
        let unfinished = template.with_extension(format!("{}", std::process::id()));
        DatabaseProcess::initialize(program, &unfinished)?;
        fs::rename(&unfinished, &template)?;
    }
    Ok(template)
}

/// Without holes: a database has taken the space for its log, and ends itself if there is none after all.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=never"])
        .args([from, to])
        .status();
    assert!(copied.expect("there is a cp command").success());
}
