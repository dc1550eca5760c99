//! Database, proxies, replicas, the client.

use std::error::Error;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::{Conn, OptsBuilder};
use testbed::{
    ClientRun, DatabaseProcess, Proxy, Service, lasting_addresses, messenger, persistent_client,
};

use crate::arguments::Arguments;

const COROUTINES: &str = "50";

/// All that can be broken. Dropped, it ends all processes.
pub(crate) struct Scene {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) database: DatabaseProcess,
    /// What the database calls itself.
    pub(crate) version: String,
}

impl Scene {
    /// Makes a database in `folder`, and starts everything.
    pub(crate) fn set(arguments: &Arguments, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let program = DatabaseProcess::program()
            .ok_or("no mariadbd or mysqld was found; DATABASE_SERVER may name one")?;
        // What a run with this seed has left behind.
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            // The database has no password: the folder is ours alone.
            _ => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?,
        }
        DatabaseProcess::initialize(&program, folder)?;
        let mut database = DatabaseProcess::on(&program, folder)?;
        database.start()?;
        let addresses = lasting_addresses(arguments.replicas as usize)?;
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

    /// Tells whether all replicas still run.
    pub(crate) fn all_alive(&mut self) -> io::Result<bool> {
        for replica in &mut self.replicas {
            if replica.service.process.status()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The client at work on the replicas.
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

    /// A session of the all-powerful user, in the replicas' database.
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
    /// Starts it again, and waits until it is ready.
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
