//! A database server of one's own, on data of its own: it may be killed, frozen, and made read-only.

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

/// Folders with servers that are not on the PATH of every user.
const SERVER_FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/local/mysql/bin",
];
/// The first start, and a start after a crash, read and write some hundred megabytes.
const START: Duration = Duration::from_secs(120);
/// A server that is asked to stop writes down what it has in memory.
const STOP: Duration = Duration::from_secs(60);
/// The time between two looks whether it is up.
const PAUSE: Duration = Duration::from_millis(20);
/// A statement of ours does not take as long.
const ANSWER: Duration = Duration::from_secs(30);

/// A database server without a port: a Unix socket in its folder is the way in.
///
/// `root` and [`DatabaseProcess::USER`] have no password.
#[derive(Debug)]
pub struct DatabaseProcess {
    program: PathBuf,
    folder: PathBuf,
    /// A path through it is short, whatever the folder's own: 107 bytes are a socket's limit.
    handle: File,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    process: Option<Process>,
}

impl DatabaseProcess {
    /// A user that may do all in [`DatabaseProcess::NAME`] and nothing elsewhere, so that a read-only server binds it.
    pub const USER: &'static str = "dm";
    /// The name of that user's database.
    pub const NAME: &'static str = "dummy_messenger";

    /// The program of a database server: `DATABASE_SERVER`, or `mariadbd` or `mysqld` where they usually are.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        Self::first_of(["mariadbd", "mysqld"])
    }

    /// The program of a database server: `DATABASE_SERVER`, or the first of these names where they usually are.
    #[must_use]
    pub fn first_of(names: [&str; 2]) -> Option<PathBuf> {
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

    /// What the program calls itself, in one line.
    pub fn version(program: &Path) -> io::Result<String> {
        let said = Command::new(program).arg("--version").output()?;
        let said = String::from_utf8_lossy(&said.stdout);
        // It begins with its path.
        let (_, version) = said.split_once("Ver ").unwrap_or(("", &said));
        Ok(version.trim().to_owned())
    }

    /// Makes the data of an empty server in the folder `data` of `folder`, which takes seconds. A copy serves as well.
    ///
    /// # Errors
    /// With what the server said.
    pub fn initialize(program: &Path, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let handle = File::open(folder)?;
        // The script of MariaDB takes no blank in a path.
        let folder = &through(&handle);
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
            .arg(option("--user=", Path::new(&owner()?)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let made = Process::start(&mut command)?.end(START)?;
        if made.is_some_and(|status| status.success()) {
            Ok(())
        } else {
            Err(failed("no data could be made", folder))
        }
    }

    /// Copies the data of a server that does not run to another folder.
    pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
        // Without holes: a database has taken the space for its log, and ends itself if there is none after all.
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

    /// A server on the data in `folder`, which is not started yet.
    pub fn on(program: &Path, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            // The server goes to its data at once, and would look for a relative path there.
            folder: path::absolute(folder)?,
            handle: File::open(folder)?,
            options: Vec::new(),
            environment: Vec::new(),
            process: None,
        })
    }

    /// Adds an option.
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

    /// Starts it, and waits until it answers. The durability settings are its defaults.
    ///
    /// # Errors
    /// With what it said, if it does not come up.
    pub fn start(&mut self) -> io::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        for left_by_a_killed_one in ["socket", "socket.lock"] {
            let _ = fs::remove_file(self.folder.join(left_by_a_killed_one));
        }
        // A server that starts removes the temporary tables it finds, and in /tmp they are those of others at work.
        let temporary = self.folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        let mut command = Command::new(&self.program);
        command
            .arg("--no-defaults")
            .arg(option("--datadir=", &self.folder.join("data")))
            .arg(option("--tmpdir=", &temporary))
            .arg(option("--socket=", &self.socket()))
            .arg(option("--user=", Path::new(&owner()?)))
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
                return set_up(&mut connection).map_err(io::Error::other);
            }
            let ended = self.process()?.status()?.is_some();
            if ended || start.elapsed() > START {
                return Err(failed("the database does not start", &self.folder));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> io::Result<&mut Process> {
        self.process
            .as_mut()
            .ok_or_else(|| io::Error::other("the database was not started"))
    }

    /// Lets it end in order.
    pub fn stop(&mut self) -> io::Result<()> {
        self.process()?.terminate()?;
        match self.process()?.end(STOP)? {
            Some(_) => Ok(()),
            None => Err(failed("the database does not stop", &self.folder)),
        }
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        through(&self.handle).join("socket")
    }

    /// The URL of its database for [`DatabaseProcess::USER`], as long as the owner lives.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "mysql://{}@localhost/{}?socket={}",
            Self::USER,
            Self::NAME,
            self.socket().display()
        )
    }

    /// A connection of `root`, to no database.
    pub fn connect(&self) -> Result<Conn, mysql::Error> {
        let socket = self.socket();
        Conn::new(
            OptsBuilder::new()
                .socket(socket.to_str())
                .user(Some("root"))
                .read_timeout(Some(ANSWER))
                .write_timeout(Some(ANSWER)),
        )
    }
}

fn set_up(connection: &mut Conn) -> Result<(), mysql::Error> {
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

/// The name of this program's user: a database server does not run as root unless it is told to.
fn owner() -> io::Result<String> {
    let said = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn failed(what: &str, folder: &Path) -> io::Error {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    io::Error::other(format!("{what}; its last lines:\n{last}"))
}

/// A short path of this open folder, as long as this process has it open.
fn through(folder: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), folder.as_raw_fd()).into()
}
