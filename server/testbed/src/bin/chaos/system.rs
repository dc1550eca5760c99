//! The system under test: database, proxies, replicas; starts the client.

use std::error::Error;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::{Conn, OptsBuilder};
use testbed::{
    ClientRun, DatabaseProcess, Proxy, Service, messenger, persistent_client, stable_addresses,
};

use crate::arguments::Arguments;

const COROUTINES: &str = "50";

/// All parts that faults are injected into. Dropping it ends all processes.
pub(crate) struct System {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) database: DatabaseProcess,
    /// The version that the database program prints.
    pub(crate) version: String,
}

impl System {
    /// Creates a database in `folder`, and starts everything.
    pub(crate) fn start(arguments: &Arguments, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let program = DatabaseProcess::program()
            .ok_or("no mariadbd or mysqld was found; DATABASE_SERVER may name one")?;
        // Left behind by an earlier run with this seed.
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            // Only this user may access the folder, because the database has no password.
            _ => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?,
        }
        DatabaseProcess::initialize(&program, folder)?;
        let mut database = DatabaseProcess::on(&program, folder)?;
        database.start()?;
        let addresses = stable_addresses(arguments.replicas as usize)?;
        let replicas = (0..).zip(addresses).map(|(number, address)| {
            let log = folder.join(format!("replica-{number}.log"));
            let proxy = Proxy::to(&database.url())?;
            let service = start(&log, address, &proxy)?;
            Ok::<_, Box<dyn Error>>(Replica {
                log,
                address,
                proxy,
                service,
            })
        });
        Ok(Self {
            replicas: replicas.collect::<Result<_, _>>()?,
            version: DatabaseProcess::version(&program)?,
            database,
        })
    }

    /// Whether all replicas still run.
    pub(crate) fn all_running(&mut self) -> io::Result<bool> {
        for replica in &mut self.replicas {
            if replica.service.process.status()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts the client, which sends to the replicas.
    pub(crate) fn client(
        &self,
        history: &Path,
        rate: u32,
        seed: u64,
        time: Duration,
    ) -> io::Result<ClientRun> {
        let mut command = persistent_client(history)?;
        command
            .args(["--concurrency", COROUTINES, "--seed", &seed.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .args(["--rate", &rate.to_string()])
            .args(self.replicas.iter().map(Replica::url));
        ClientRun::start(&mut command)
    }

    /// Connects to the replicas' database as `root`.
    pub(crate) fn session(&self) -> Result<Conn, mysql::Error> {
        let socket = self.database.socket();
        Conn::new(
            OptsBuilder::new()
                .socket(socket.to_str())
                .user(Some("root"))
                .db_name(Some(DatabaseProcess::NAME)),
        )
    }

    /// The logs of all replicas.
    pub(crate) fn logs(&self) -> String {
        let logs = self
            .replicas
            .iter()
            .map(|replica| fs::read_to_string(&replica.log));
        logs.map(Result::unwrap_or_default).collect()
    }
}

/// A server behind a proxy.
pub(crate) struct Replica {
    log: PathBuf,
    address: SocketAddr,
    pub(crate) proxy: Proxy,
    pub(crate) service: Service,
}

impl Replica {
    /// Restarts it, and waits until it is ready.
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.service = start(&self.log, self.address, &self.proxy)?;
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn start(log: &Path, address: SocketAddr, proxy: &Proxy) -> Result<Service, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = messenger(&proxy.url())?;
    command.args(["--listen", &address.to_string()]);
    let mut service = Service::start(&mut command, Some(log))?;
    service.wait_until_ready()?;
    Ok(service)
}
