//! A database server for one test, which may be killed, frozen, and filled up.

use std::fs;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Database, skip};
use crate::DatabaseProcess;
use crate::service::build_folder;

/// A running database server with an empty database. If the test fails, its log is printed.
#[derive(Debug)]
pub struct OwnDatabase {
    process: DatabaseProcess,
    database: Database,
    folder: TempDir,
}

impl OwnDatabase {
    /// Starts one; `None` if no server program is found. The test is then reported as skipped, and should return.
    pub fn start() -> Option<Self> {
        Self::start_with(|process| process)
    }

    /// Starts one with these settings.
    pub fn start_with(settings: impl FnOnce(DatabaseProcess) -> DatabaseProcess) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("dm-test-").tempdir();
        let folder = folder.expect("a folder can be made");
        Self::start_in(folder, settings)
    }

    /// Starts one with these settings in a prepared folder.
    pub fn start_in(
        folder: TempDir,
        settings: impl FnOnce(DatabaseProcess) -> DatabaseProcess,
    ) -> Option<Self> {
        let Some(program) = DatabaseProcess::program() else {
            skip("no mariadbd or mysqld was found; DATABASE_SERVER may name one");
            return None;
        };
        let template = template(&program).expect("data can be made");
        DatabaseProcess::copy(&template, folder.path()).expect("there is space");
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

    /// Its database.
    pub fn database(&self) -> &Database {
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

/// The data of an empty server, which tests copy. It is created only once, because that takes seconds.
fn template(program: &Path) -> io::Result<PathBuf> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _guard = LOCK.lock();
    let version = DatabaseProcess::version(program)?;
    let name = version.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
    let folder = build_folder()?.join("databases");
    fs::create_dir_all(&folder)?;
    let template = folder.join(name);
    if !template.exists() {
        // Created under another name, so that an interrupted run leaves no incomplete template.
        let unfinished = template.with_extension(format!("{}", std::process::id()));
        DatabaseProcess::initialize(program, &unfinished)?;
        fs::rename(&unfinished, &template)?;
    }
    Ok(template)
}
