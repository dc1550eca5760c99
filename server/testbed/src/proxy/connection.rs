//! One connection of a proxy: a thread for each direction.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::Socket;

use crate::packet::{self, HEADER};

use super::{Action, Order, Part, Shared, Stage};

/// The longest time that something is held back.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A way from a replica to the database and back.
#[derive(Debug)]
pub(super) struct Connection {
    replica: Socket,
    database: Socket,
    open: AtomicBool,
    /// What becomes of the next reply.
    reply: Mutex<Reply>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
enum Reply {
    #[default]
    Passes,
    /// It is lost, and all after it.
    Lost,
    Halved(Arc<Order>),
    Held(Arc<Order>),
}

impl Connection {
    pub(super) fn start(
        replica: Socket,
        database: Socket,
        shared: &Arc<Shared>,
    ) -> io::Result<Arc<Self>> {
        replica.set_tcp_nodelay(true)?;
        let connection = Arc::new(Self {
            replica,
            database,
            open: AtomicBool::new(true),
            reply: Mutex::default(),
            shared: Arc::clone(shared),
        });
        // An error is the end of a connection, as any other.
        let (forth, back) = (Arc::clone(&connection), Arc::clone(&connection));
        thread::Builder::new().spawn(move || forth.forth())?;
        thread::Builder::new().spawn(move || back.back())?;
        Ok(connection)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Carries packets from the replica to the database. Each is looked at before it goes on.
    fn forth(&self) -> io::Result<()> {
        let mut packet = Vec::new();
        loop {
            let read = packet::read(&mut &self.replica, &mut packet);
            if read.is_err() {
                // The database may still be at work for it, and finds out then.
                let _ = self.database.shutdown(Shutdown::Write);
                return read;
            }
            self.shared.packets.fetch_add(1, Ordering::Relaxed);
            // All of a round trip is spent here: the replica waits for the answer, and the database for the next packet.
            let round_trip = *self.shared.round_trip.lock();
            if !round_trip.is_zero() {
                thread::sleep(round_trip);
            }
            let status = *self.shared.status.lock();
            if let Some(changed) = status.changed(&packet) {
                packet = changed;
            }
            let part = packet::statements(&packet).and_then(Part::of);
            match part.and_then(|part| self.shared.take_order(part)) {
                Some(order) => self.obey(&order, &packet)?,
                None => self.pass(&self.database, &packet)?,
            }
        }
    }

    fn obey(&self, order: &Arc<Order>, packet: &[u8]) -> io::Result<()> {
        *self.reply.lock() = match order.action {
            Action::CutReply => Reply::Halved(Arc::clone(order)),
            Action::HoldReply => Reply::Held(Arc::clone(order)),
            Action::CutAfter(_) | Action::CutPacket | Action::Delay => Reply::Lost,
        };
        let mut to_database = &self.database;
        let last = match order.action {
            Action::CutReply | Action::HoldReply => return to_database.write_all(packet),
            Action::CutAfter(statements) => first_statements(packet, statements),
            Action::CutPacket => packet[..packet.len() / 2].to_vec(),
            Action::Delay => {
                self.replica.shutdown(Shutdown::Both)?;
                order.set(Stage::Reached);
                order.wait(Stage::Released, LONGEST_HOLD);
                packet.to_vec()
            }
        };
        order.set(Stage::Reached);
        to_database.write_all(&last)?;
        // The database runs what it has got, and then finds the connection closed; the other thread sees it close its own.
        self.database.shutdown(Shutdown::Write)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Carries bytes from the database to the replica, as they come.
    fn back(&self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let result = loop {
            let length = match (&self.database).read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => length,
                Err(error) => break Err(error),
            };
            if let Err(error) = self.deliver(&buffer[..length]) {
                break Err(error);
            }
        };
        self.close();
        result
    }

    fn deliver(&self, bytes: &[u8]) -> io::Result<()> {
        let mut reply = self.reply.lock();
        match &*reply {
            Reply::Passes => {}
            Reply::Lost => return Ok(()),
            Reply::Halved(order) => {
                order.set(Stage::Reached);
                (&self.replica).write_all(&bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Reply::Held(order) => {
                order.set(Stage::Reached);
                order.wait(Stage::Released, LONGEST_HOLD);
                *reply = Reply::Passes;
            }
        }
        drop(reply);
        self.pass(&self.replica, bytes)
    }

    /// Sends bytes on, unless the fuse burns down.
    fn pass(&self, mut to: &Socket, bytes: &[u8]) -> io::Result<()> {
        match self.shared.burn(bytes.len()) {
            None => to.write_all(bytes),
            Some(length) => {
                to.write_all(&bytes[..length])?;
                self.close();
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
        // They may be closed already.
        let _ = self.replica.shutdown(Shutdown::Both);
        let _ = self.database.shutdown(Shutdown::Both);
    }
}

/// A packet with the first statements only. No `;` stands in a literal: what callers sent is hexadecimal.
fn first_statements(packet: &[u8], statements: usize) -> Vec<u8> {
    if statements == 0 {
        return Vec::new();
    }
    let payload = &packet[HEADER..];
    let mut ends = payload
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b';')
        .map(|(index, _)| index);
    let Some(end) = ends.nth(statements - 1) else {
        return packet.to_vec();
    };
    let length = u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes();
    [&length[..3], &[packet[3]], &payload[..end]].concat()
}
