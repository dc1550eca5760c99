//! A database server for one test, to be killed, frozen, and filled up.

use std::fs;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Database, skip};
use crate::DatabaseProcess;
use crate::service::build_folder;

/// A database server that runs, with an empty database in it. If the test fails, it shows its log.
#[derive(Debug)]
pub struct OwnDatabase {
    process: DatabaseProcess,
    database: Database,
    folder: TempDir,
}

impl OwnDatabase {
    /// Starts one; `None` if there is no server's program here. Then the test says so, and ends.
    pub fn start() -> Option<Self> {
        Self::start_with(|process| process)
    }

    /// Starts one with settings of the test's own.
    pub fn start_with(settings: impl FnOnce(DatabaseProcess) -> DatabaseProcess) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("dm-test-").tempdir();
        let folder = folder.expect("a folder can be made");
        Self::start_in(folder, settings)
    }

    /// Starts one in a folder that the test has prepared.
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

/// Data of an empty server, made once, as that takes seconds; tests copy it.
fn template(program: &Path) -> io::Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let version = DatabaseProcess::version(program)?;
    let name = version.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
    let folder = build_folder()?.join("databases");
    fs::create_dir_all(&folder)?;
    let template = folder.join(name);
    if !template.exists() {
        // Under another name first, so that an interrupted run leaves no half of it.
        let unfinished = template.with_extension(format!("{}", std::process::id()));
        DatabaseProcess::initialize(program, &unfinished)?;
        fs::rename(&unfinished, &template)?;
    }
    Ok(template)
}
