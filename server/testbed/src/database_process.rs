//! A private database server with data of its own, which may be killed, frozen, and made read-only.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use crate::Process;

/// Folders of server programs that are not on the PATH of every user.
const SERVER_FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/local/mysql/bin",
];
/// Long, because the first start and a start after a crash read and write some hundred megabytes.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Long, because a server that stops flushes its memory to disk.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two attempts to connect.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// None of our statements takes as long.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A database server without a TCP port. Clients connect to a Unix socket in its folder.
///
/// `root` and [`DatabaseProcess::USER`] have no password.
#[derive(Debug)]
pub struct DatabaseProcess {
    program: PathBuf,
    folder: PathBuf,
    /// The open folder. The path `/proc/PID/fd/N` is always short, while the path of a socket is limited to 107 bytes.
    handle: File,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    process: Option<Process>,
}

impl DatabaseProcess {
    /// A user with all privileges in [`DatabaseProcess::NAME`] and none elsewhere, so that `read_only` applies to it.
    pub const USER: &'static str = "dm";
    /// The name of that user's database.
    pub const NAME: &'static str = "dummy_messenger";

    /// The program of a database server: `DATABASE_SERVER`, or `mariadbd` or `mysqld` in the usual folders.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        Self::find_program(["mariadbd", "mysqld"])
    }

    /// The program of a database server: `DATABASE_SERVER`, or the first of these names that is in the usual folders.
    #[must_use]
    pub fn find_program(names: [&str; 2]) -> Option<PathBuf> {
        if let Some(program) = env::var_os("DATABASE_SERVER").filter(|value| !value.is_empty()) {
            return Some(program.into());
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = env::split_paths(&path)
            .chain(SERVER_FOLDERS.map(PathBuf::from))
            .collect();
        names.iter().find_map(|name| {
            folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|program| program.is_file())
        })
    }

    /// The version that the program prints, one line.
    pub fn version(program: &Path) -> io::Result<String> {
        let output = Command::new(program).arg("--version").output()?;
        let output = String::from_utf8_lossy(&output.stdout);
        // The line begins with the program's path.
        let (_, version) = output.split_once("Ver ").unwrap_or(("", &output));
        Ok(version.trim().to_owned())
    }

    /// Creates the data of an empty server in the folder `data` of `folder`. Takes seconds; [`Self::copy`] may be used instead.
    ///
    /// # Errors
    /// With the last lines of the server's log.
    pub fn initialize(program: &Path, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let handle = File::open(folder)?;
        // MariaDB's script does not accept spaces in a path.
        let folder = &short_path(&handle);
        let log = File::create(folder.join("log"))?;
        let mut command = if Self::version(program)?.contains("MariaDB") {
            let mut command = Command::new("mariadb-install-db");
            command.args([
                "--no-defaults",
                "--force",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]);
            command
        } else {
            let mut command = Command::new(program);
            command.args(["--no-defaults", "--initialize-insecure"]);
            command
        };
        command
            .arg(option("--datadir=", &folder.join("data")))
            .arg(option("--user=", Path::new(&current_user()?)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let status = Process::start(&mut command)?.wait_timeout(START_TIMEOUT)?;
        if status.is_some_and(|status| status.success()) {
            Ok(())
        } else {
            Err(error_with_log("no data could be made", folder))
        }
    }

    /// Copies the data of a stopped server to another folder.
    pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
        // Not sparse: a database relies on the space reserved for its log, and aborts if the disk has none left.
        let copied = Command::new("cp")
            .args(["-a", "--sparse=never"])
            .args([from.join("data"), to.join("data")])
            .status()?;
        if copied.success() {
            Ok(())
        } else {
            Err(io::Error::other("cp failed, it has said why above"))
        }
    }

    /// A server for the data in `folder`, not started yet.
    pub fn on(program: &Path, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            // The server changes into its data folder, so a relative path would be resolved there.
            folder: path::absolute(folder)?,
            handle: File::open(folder)?,
            options: Vec::new(),
            environment: Vec::new(),
            process: None,
        })
    }

    /// Adds an option to its command line.
    #[must_use]
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it, and waits until it accepts connections. Durability settings are the server's defaults.
    ///
    /// # Errors
    /// With the last lines of its log, if it does not start in time.
    pub fn start(&mut self) -> io::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        for leftover in ["socket", "socket.lock"] {
            let _ = fs::remove_file(self.folder.join(leftover));
        }
        // A starting server removes the temporary tables that it finds; in /tmp it would remove those of other servers.
        let temporary = self.folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        let mut command = Command::new(&self.program);
        command
            .arg("--no-defaults")
            .arg(option("--datadir=", &self.folder.join("data")))
            .arg(option("--tmpdir=", &temporary))
            .arg(option("--socket=", &self.socket()))
            .arg(option("--user=", Path::new(&current_user()?)))
            .args([
                "--pid-file=pid",
                "--skip-networking",
                "--loose-mysqlx=OFF",
                "--secure-file-priv=",
            ])
            .args(&self.options)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(Process::start(&mut command)?);
        self.wait_until_up()
    }

    fn wait_until_up(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = self.connect() {
                return create_database(&mut connection).map_err(io::Error::other);
            }
            let ended = self.process()?.status()?.is_some();
            if ended || start.elapsed() > START_TIMEOUT {
                return Err(error_with_log("the database does not start", &self.folder));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The process, once it was started.
    pub fn process(&mut self) -> io::Result<&mut Process> {
        self.process
            .as_mut()
            .ok_or_else(|| io::Error::other("the database was not started"))
    }

    /// Shuts it down cleanly (SIGTERM), and waits for its end.
    pub fn stop(&mut self) -> io::Result<()> {
        self.process()?.terminate()?;
        match self.process()?.wait_timeout(STOP_TIMEOUT)? {
            Some(_) => Ok(()),
            None => Err(error_with_log("the database does not stop", &self.folder)),
        }
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        short_path(&self.handle).join("socket")
    }

    /// The URL of its database for [`DatabaseProcess::USER`], valid as long as `self` exists.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "mysql://{}@localhost/{}?socket={}",
            Self::USER,
            Self::NAME,
            self.socket().display()
        )
    }

    /// Connects as `root`, without a default database.
    pub fn connect(&self) -> io::Result<Conn> {
        let socket = self.socket();
        let options = OptsBuilder::new()
            .socket(socket.to_str())
            .user(Some("root"))
            .read_timeout(Some(RESPONSE_TIMEOUT))
            .write_timeout(Some(RESPONSE_TIMEOUT));
        Conn::new(options).map_err(io::Error::other)
    }
}

fn create_database(connection: &mut Conn) -> Result<(), mysql::Error> {
    let (user, name) = (DatabaseProcess::USER, DatabaseProcess::NAME);
    let known: Option<u8> =
        connection.exec_first("SELECT 1 FROM mysql.user WHERE user = ?", (user,))?;
    if known.is_some() {
        return Ok(());
    }
    connection.query_drop(format!("CREATE USER {user}@localhost"))?;
    connection.query_drop(format!("GRANT ALL ON {name}.* TO {user}@localhost"))?;
    connection.query_drop(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// The name of this program's user. A database server runs as root only if it is told to.
fn current_user() -> io::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn error_with_log(what: &str, folder: &Path) -> io::Error {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    io::Error::other(format!("{what}; its last lines:\n{last}"))
}

/// A short path to this open folder, valid while this process keeps it open.
fn short_path(folder: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), folder.as_raw_fd()).into()
}
