//! A database of its own for each test, replicas as processes, and callers that keep their connections.

mod caller;
mod door;
mod judge;
mod load;
mod own;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use faults::{DatabaseProcess, Process, Proxy};
use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, Opts, OptsBuilder};
use uuid::Uuid;

pub(crate) use caller::{Answer, Caller};
pub(crate) use door::{Door, Standing, signal};
pub(crate) use judge::{Exchange, assert_promises};
pub(crate) use load::Load;
pub(crate) use own::{OwnDatabase, skip};

/// Nothing here takes as long on a healthy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An empty database, dropped at the end.
pub(crate) struct Database {
    name: String,
    server: String,
    kept: bool,
}

impl Database {
    pub(crate) fn new() -> Self {
        let server = env::var("DATABASE_URL").expect(
            "DATABASE_URL must name a MySQL or MariaDB server, like mysql://user:password@host/any; `./run.sh test` starts one",
        );
        let database = Self {
            name: format!("dm_test_{}", Uuid::new_v4().simple()),
            server,
            kept: false,
        };
        database
            .connect_to(None)
            .query_drop(format!(
                "CREATE DATABASE {} CHARACTER SET utf8mb4",
                database.name
            ))
            .expect("the user of DATABASE_URL may create databases");
        database
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The one of a server that this test has for itself; it goes away together with it.
    pub(crate) fn of(server: &DatabaseProcess) -> Self {
        Self {
            name: DatabaseProcess::NAME.to_owned(),
            server: server.url(),
            kept: true,
        }
    }

    /// The URL for a replica.
    pub(crate) fn url(&self) -> String {
        let (address, query) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let authority_at = address.find("://").expect("DATABASE_URL has a scheme") + 3;
        let authority_end = address[authority_at..]
            .find('/')
            .map_or(address.len(), |slash| authority_at + slash);
        format!("{}/{}?{query}", &address[..authority_end], self.name)
    }

    /// A way to it that can be cut.
    pub(crate) fn proxy(&self) -> Proxy {
        let options = Opts::from_url(&self.server).expect("DATABASE_URL is a mysql:// URL");
        let proxy = if let Some(path) = options.get_socket() {
            Proxy::to_path(Path::new(path))
        } else {
            let host = (&*options.get_ip_or_hostname(), options.get_tcp_port());
            let address = host
                .to_socket_addrs()
                .ok()
                .and_then(|mut found| found.next());
            Proxy::to_port(address.expect("DATABASE_URL names a host"))
        };
        proxy.expect("a port is free")
    }

    /// The URL for a replica that goes this way.
    pub(crate) fn url_through(&self, proxy: &Proxy) -> String {
        let options = Opts::from_url(&self.server).expect("DATABASE_URL is a mysql:// URL");
        let (user, password) = (options.get_user(), options.get_pass());
        format!(
            "mysql://{}:{}@{}/{}",
            user.unwrap_or_default(),
            password.unwrap_or_default(),
            proxy.address(),
            self.name
        )
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> Conn {
        self.connect_to(Some(self.name.clone()))
    }

    fn connect_to(&self, name: Option<String>) -> Conn {
        let options = Opts::from_url(&self.server).expect("DATABASE_URL is a mysql:// URL");
        Conn::new(
            OptsBuilder::from_opts(options)
                .db_name(name)
                .prefer_socket(false),
        )
        .expect("the database is up")
    }

    pub(crate) fn rows<T: FromRow>(&self, query: &str) -> Vec<T> {
        self.connect().query(query).expect("the query is right")
    }

    /// Fails with what the view shows, if it shows anything.
    pub(crate) fn assert_in_order(&self) {
        let violations: Vec<(String, String)> =
            self.rows("SELECT violation, detail FROM ordering_violations");
        assert_eq!(violations, [], "ordering_violations");
    }

    pub(crate) fn count(&self) -> u64 {
        self.rows("SELECT COUNT(*) FROM messages")[0]
    }

    /// Takes the lock that every writer needs; it is held until the connection ends its transaction.
    pub(crate) fn hold_the_lock(&self) -> Conn {
        let mut holder = self.connect();
        holder.query_drop("BEGIN").expect("the connection is up");
        holder
            .query_drop("SELECT messages FROM counters WHERE user = '' FOR UPDATE")
            .expect("the lock is free");
        // The database answers a statement a little before it stops showing it: so the last one shown is another.
        holder.query_drop("DO 0").expect("the connection is up");
        holder
    }

    /// Waits until somebody holds the lock that every writer needs.
    pub(crate) fn wait_until_the_lock_is_held(&self) {
        let unless_held = "SELECT messages FROM counters WHERE user = '' FOR UPDATE SKIP LOCKED";
        eventually("somebody holds the lock", || {
            self.rows::<u64>(unless_held).is_empty()
        });
    }

    /// Waits until a replica waits for the lock on another connection than `known`, and gives that connection.
    pub(crate) fn wait_for_a_writer(&self, known: Option<u64>) -> u64 {
        let mut writer = None;
        eventually("a writer waits for the lock", || {
            writer = self
                .waiting_writers()
                .into_iter()
                .find(|&writer| Some(writer) != known);
            writer.is_some()
        });
        writer.expect("it was found")
    }

    /// The connections on which a statement asks for the lock.
    pub(crate) fn waiting_writers(&self) -> Vec<u64> {
        self.rows(&format!(
            "SELECT id FROM information_schema.processlist
             WHERE db = '{}' AND info LIKE '%FOR UPDATE%' AND info NOT LIKE '%processlist%'",
            self.name
        ))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let _ = self
            .connect_to(None)
            .query_drop(format!("DROP DATABASE {}", self.name));
    }
}

/// Waits until something holds, and fails if it does not in time.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server process. Killed at the end, if it still runs.
pub(crate) struct Replica {
    process: Process,
    address: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Replica {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    pub(crate) fn start_with(database: &Database, options: &[&str]) -> Self {
        Self::start_at(&database.url(), options)
    }

    pub(crate) fn start_at(database_url: &str, options: &[&str]) -> Self {
        let mut replica = Self::spawn(database_url, options);
        replica.wait_until_ready();
        replica
    }

    /// Starts one without waiting.
    pub(crate) fn spawn(database_url: &str, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        // An option may say otherwise.
        command.env("LISTEN", "127.0.0.1:0").args(options);
        Self::run(command.env("DATABASE_URL", database_url))
    }

    /// Runs a command that becomes a server.
    pub(crate) fn run(command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(command).expect("the server's binary can be started");
        let stderr = process.child().stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let all = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                all.lock()
                    .expect("nothing panics with it")
                    .extend([&line, "\n"]);
                let _ = sender.send(line);
            }
        });
        Self {
            process,
            address: None,
            log,
            lines,
        }
    }

    pub(crate) fn wait_until_ready(&mut self) {
        let address = self.wait_for_line("ready address=");
        self.address = Some(address.parse().expect("the log shows an address"));
    }

    pub(crate) fn wait_until_ready_in_json(&mut self) {
        let rest = self.wait_for_line(r#""message":"ready","address":""#);
        let address = rest.split('"').next().unwrap_or_default();
        self.address = Some(address.parse().expect("the log shows an address"));
    }

    /// What stands behind `mark` in the first line of the log that has it.
    pub(crate) fn wait_for_line(&self, mark: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(mark) {
                        return rest.to_owned();
                    }
                }
                Err(error) => panic!("no line with {mark:?} ({error}) in:\n{}", self.log()),
            }
        }
    }

    /// Of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("nothing panics with it").clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("the replica is ready")
    }

    /// A new connection.
    pub(crate) fn caller(&self) -> Caller {
        Caller::connect(self.address())
    }

    pub(crate) fn process_id(&mut self) -> u32 {
        self.process.child().id()
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate().expect("it runs");
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
    }

    /// Stops all its threads until [`Self::thaw`].
    pub(crate) fn freeze(&self) {
        self.process.freeze().expect("it runs");
    }

    pub(crate) fn thaw(&self) {
        self.process.thaw().expect("it runs");
    }

    /// Waits for the end of the process, and of its log.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let status = self.process.end(PATIENCE).expect("it is our child");
        let status = status.expect("the server ends in time");
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        status
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = write!(std::io::stderr(), "log of the server:\n{}", self.log());
        }
    }
}
