//! A host of the database as replicas see it: a door to the real one, which can be shut, or made read-only.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use mysql::Opts;

use super::Database;

/// How the host behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    TakesWrites,
    /// Says so when asked, and refuses writes, as a secondary does.
    ReadOnly,
    /// Refuses `COMMIT`, for want of space.
    Full,
    /// Takes connections, and says nothing.
    Silent,
    /// Hangs up on all, and on whoever comes.
    Away,
    /// The listener ends.
    Gone,
}

/// Several doors may lead to one database: then they stand for hosts with the same data.
pub(crate) struct Door {
    address: SocketAddr,
    inside: Arc<Inside>,
}

struct Inside {
    database: Opts,
    standing: Mutex<Standing>,
    connects: AtomicUsize,
    guests: Mutex<Vec<TcpStream>>,
}

impl Door {
    pub(crate) fn new(database: &Database, standing: Standing) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), database, standing)
    }

    pub(crate) fn at(address: SocketAddr, database: &Database, standing: Standing) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let inside = Arc::new(Inside {
            database: Opts::from_url(&database.url()).expect("DATABASE_URL is a mysql:// URL"),
            standing: Mutex::new(standing),
            connects: AtomicUsize::new(0),
            guests: Mutex::default(),
        });
        let porter = Arc::clone(&inside);
        thread::spawn(move || porter.serve(&listener));
        Self { address, inside }
    }

    /// The URL for a replica.
    pub(crate) fn url(&self) -> String {
        let database = &self.inside.database;
        format!(
            "mysql://{}:{}@{}/{}",
            database.get_user().unwrap_or_default(),
            database.get_pass().unwrap_or_default(),
            self.address,
            database.get_db_name().unwrap_or_default()
        )
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, also for connections that exist.
    pub(crate) fn set(&self, standing: Standing) {
        *self.inside.standing() = standing;
        if matches!(standing, Standing::Away | Standing::Gone) {
            for guest in self.inside.guests().drain(..) {
                let _ = guest.shutdown(Shutdown::Both);
            }
        }
    }

    /// How often somebody came.
    pub(crate) fn connects(&self) -> usize {
        self.inside.connects.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.set(Standing::Gone);
        let _ = TcpStream::connect(self.address);
    }
}

impl Inside {
    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().expect("nothing panics with it")
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.guests.lock().expect("nothing panics with it")
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for guest in listener.incoming().flatten() {
            let standing = *self.standing();
            if standing == Standing::Gone {
                return;
            }
            self.connects.fetch_add(1, Ordering::Relaxed);
            if standing == Standing::Away {
                continue;
            }
            self.guests()
                .push(guest.try_clone().expect("a descriptor is free"));
            if standing != Standing::Silent {
                let inside = Arc::clone(self);
                thread::spawn(move || inside.lead_in(guest));
            }
        }
    }

    fn lead_in(self: Arc<Self>, guest: TcpStream) {
        let Ok((from_database, mut to_database)) = self.connect() else {
            return;
        };
        let mut to_guest = guest.try_clone().expect("a descriptor is free");
        thread::spawn(move || {
            let mut from_database = from_database;
            let _ = io::copy(&mut from_database, &mut to_guest);
            let _ = to_guest.shutdown(Shutdown::Both);
        });
        let mut guest = guest;
        while let Ok(packet) = read_packet(&mut guest) {
            let packet = match *self.standing() {
                Standing::ReadOnly => as_if_read_only(packet),
                Standing::Full => as_if_full(packet),
                _ => packet,
            };
            if to_database.write_all(&packet).is_err() {
                break;
            }
        }
        // The other thread ends when the database has hung up.
        to_database.shutdown();
    }

    fn connect(&self) -> io::Result<(Box<dyn Read + Send>, Box<dyn Inlet>)> {
        if let Some(path) = self.database.get_socket() {
            let stream = UnixStream::connect(path)?;
            return Ok((Box::new(stream.try_clone()?), Box::new(stream)));
        }
        let host = self.database.get_ip_or_hostname();
        let stream = TcpStream::connect((&*host, self.database.get_tcp_port()))?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream.try_clone()?), Box::new(stream)))
    }
}

trait Inlet: Write + Send {
    fn shutdown(&self);
}

impl Inlet for TcpStream {
    fn shutdown(&self) {
        let _ = TcpStream::shutdown(self, Shutdown::Both);
    }
}

impl Inlet for UnixStream {
    fn shutdown(&self) {
        let _ = UnixStream::shutdown(self, Shutdown::Both);
    }
}

/// Length in three bytes, number, content.
fn read_packet(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet)?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..])?;
    Ok(packet)
}

fn as_if_read_only(packet: Vec<u8>) -> Vec<u8> {
    let Some(text) = text(&packet) else {
        return packet;
    };
    let text = if text.contains("@@GLOBAL.read_only") {
        text.replace("@@GLOBAL.read_only", "1")
    } else if text.contains("INSERT INTO") || text.contains("UPDATE counters") {
        signal(1290)
    } else {
        return packet;
    };
    query(&text)
}

fn as_if_full(packet: Vec<u8>) -> Vec<u8> {
    match text(&packet).and_then(|text| text.strip_suffix("COMMIT")) {
        Some(before) => query(&format!("{before}{}", signal(1114))),
        None => packet,
    }
}

/// A statement that fails with this error.
pub(crate) fn signal(error: u16) -> String {
    format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {error}, MESSAGE_TEXT = 'by the test'")
}

const QUERY: u8 = 3;

fn text(packet: &[u8]) -> Option<&str> {
    let text = packet.get(5..).filter(|_| packet[4] == QUERY)?;
    str::from_utf8(text).ok()
}

fn query(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).expect("it is short");
    let mut packet = length.to_le_bytes()[..3].to_vec();
    packet.extend([0, QUERY]);
    packet.extend(text.as_bytes());
    packet
}
