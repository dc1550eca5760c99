//! A host of the database as replicas see it: a way to the real one, which can be shut, or made read-only.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::Database;
use crate::{Upstream, packet, url_at};

/// How a host behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostStatus {
    /// It is as the real one.
    TakesWrites,
    /// It says so when asked, and refuses writes, as a secondary does.
    ReadOnly,
    /// It refuses `COMMIT`, for want of space.
    Full,
    /// It takes connections, and says nothing.
    Silent,
    /// It hangs up on all, and on whoever comes.
    Away,
    /// The listener has ended.
    Gone,
}

/// A host. Several may lead to one database: then they stand for hosts with the same data.
#[derive(Debug)]
pub struct DatabaseHost {
    url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    status: Mutex<HostStatus>,
    connects: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl DatabaseHost {
    /// Makes a host with this database.
    pub fn new(database: &Database, status: HostStatus) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), database, status)
    }

    /// As [`Self::new`], at this address.
    pub fn at(address: SocketAddr, database: &Database, status: HostStatus) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let url = database.url();
        let shared = Arc::new(Shared {
            upstream: Upstream::of(&url).expect("DATABASE_URL is a mysql:// URL"),
            status: Mutex::new(status),
            connects: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.serve(&listener));
        Self {
            url: url_at(&url, address).expect("DATABASE_URL is a mysql:// URL"),
            address,
            shared,
        }
    }

    /// The URL for a replica.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says how it behaves from now on, also on connections that exist.
    pub fn set(&self, status: HostStatus) {
        *self.shared.status() = status;
        if matches!(status, HostStatus::Away | HostStatus::Gone) {
            for connection in self.shared.connections().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    /// How often somebody connected.
    pub fn connects(&self) -> usize {
        self.shared.connects.load(Ordering::Relaxed)
    }
}

impl Drop for DatabaseHost {
    fn drop(&mut self) {
        self.set(HostStatus::Gone);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, HostStatus> {
        self.status.lock().expect("nothing panics with it")
    }

    fn connections(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.connections.lock().expect("nothing panics with it")
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for replica in listener.incoming().flatten() {
            let status = *self.status();
            if status == HostStatus::Gone {
                return;
            }
            self.connects.fetch_add(1, Ordering::Relaxed);
            if status == HostStatus::Away {
                continue;
            }
            self.connections()
                .push(replica.try_clone().expect("a descriptor is free"));
            if status != HostStatus::Silent {
                let shared = Arc::clone(self);
                // Where it fails, the replica sees a closed connection.
                thread::spawn(move || shared.forward(replica));
            }
        }
    }

    fn forward(&self, mut replica: TcpStream) -> io::Result<()> {
        let mut database = self.upstream.connect()?;
        let (mut from_database, mut to_replica) = (database.try_clone()?, replica.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from_database, &mut to_replica);
            let _ = to_replica.shutdown(Shutdown::Both);
        });
        let mut packet = Vec::new();
        while packet::read(&mut replica, &mut packet).is_ok() {
            let changed = changed(&packet, *self.status());
            if database
                .write_all(changed.as_ref().unwrap_or(&packet))
                .is_err()
            {
                break;
            }
        }
        // The other thread ends when the database has hung up.
        database.shutdown(Shutdown::Both)
    }
}

/// What a host of this status makes of a packet; `None` if it takes it as it is.
fn changed(packet: &[u8], status: HostStatus) -> Option<Vec<u8>> {
    let sql = str::from_utf8(packet::statements(packet)?).ok()?;
    let changed = match status {
        HostStatus::ReadOnly if sql.contains("@@GLOBAL.read_only") => {
            sql.replace("@@GLOBAL.read_only", "1")
        }
        HostStatus::ReadOnly if sql.contains("INSERT INTO") => signal(1290),
        HostStatus::ReadOnly if sql.contains("UPDATE counters") => signal(1290),
        HostStatus::Full => format!("{}{}", sql.strip_suffix("COMMIT")?, signal(1114)),
        _ => return None,
    };
    Some(packet::query(&changed))
}

/// A statement that fails with this error.
pub fn signal(error: u16) -> String {
    format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {error}, MESSAGE_TEXT = 'by the test'")
}
