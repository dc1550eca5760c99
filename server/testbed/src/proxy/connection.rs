//! One connection of a proxy, with a thread for each direction.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::Socket;

use crate::packet::{self, HEADER};

use super::{Action, Part, Rule, Shared, Stage};

/// The longest time that a packet or a reply is held back.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// A pair of sockets: one to the replica, one to the database.
#[derive(Debug)]
pub(super) struct Connection {
    replica: Socket,
    database: Socket,
    open: AtomicBool,
    /// What to do with the next bytes from the database.
    reply: Mutex<NextReply>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
enum NextReply {
    #[default]
    Pass,
    /// They are discarded, and all after them.
    Drop,
    Truncate(Arc<Rule>),
    Hold(Arc<Rule>),
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
        // Errors are ignored: they just end the connection.
        let (requests, replies) = (Arc::clone(&connection), Arc::clone(&connection));
        thread::Builder::new().spawn(move || requests.forward_requests())?;
        thread::Builder::new().spawn(move || replies.forward_replies())?;
        Ok(connection)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Forwards packets from the replica to the database. Each is inspected first.
    fn forward_requests(&self) -> io::Result<()> {
        let mut packet = Vec::new();
        loop {
            let read = packet::read(&mut &self.replica, &mut packet);
            if read.is_err() {
                // The database may still run a statement, and finds the connection closed afterwards.
                let _ = self.database.shutdown(Shutdown::Write);
                return read;
            }
            self.shared.packets.fetch_add(1, Ordering::Relaxed);
            // The whole round trip is spent here, because the replica waits for the reply and the database for the packet.
            let round_trip = *self.shared.round_trip.lock();
            if !round_trip.is_zero() {
                thread::sleep(round_trip);
            }
            let status = *self.shared.status.lock();
            if let Some(rewritten) = status.rewritten(&packet) {
                packet = rewritten;
            }
            let part = packet::statements(&packet).and_then(Part::of);
            match part.and_then(|part| self.shared.take_rule(part)) {
                Some(rule) => self.apply(&rule, &packet)?,
                None => self.pass(&self.database, &packet)?,
            }
        }
    }

    fn apply(&self, rule: &Arc<Rule>, packet: &[u8]) -> io::Result<()> {
        *self.reply.lock() = match rule.action {
            Action::CutReply => NextReply::Truncate(Arc::clone(rule)),
            Action::HoldReply => NextReply::Hold(Arc::clone(rule)),
            Action::CutAfter(_) | Action::CutPacket | Action::Delay => NextReply::Drop,
        };
        let mut to_database = &self.database;
        let last = match rule.action {
            Action::CutReply | Action::HoldReply => return to_database.write_all(packet),
            Action::CutAfter(statements) => first_statements(packet, statements),
            Action::CutPacket => packet[..packet.len() / 2].to_vec(),
            Action::Delay => {
                self.replica.shutdown(Shutdown::Both)?;
                rule.set(Stage::Reached);
                rule.wait(Stage::Released, MAX_HOLD);
                packet.to_vec()
            }
        };
        rule.set(Stage::Reached);
        to_database.write_all(&last)?;
        // The database runs what it received, finds the connection closed, and closes its end, which the other thread sees.
        self.database.shutdown(Shutdown::Write)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Forwards bytes from the database to the replica as they arrive.
    fn forward_replies(&self) -> io::Result<()> {
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
            NextReply::Pass => {}
            NextReply::Drop => return Ok(()),
            NextReply::Truncate(rule) => {
                rule.set(Stage::Reached);
                (&self.replica).write_all(&bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            NextReply::Hold(rule) => {
                rule.set(Stage::Reached);
                rule.wait(Stage::Released, MAX_HOLD);
                *reply = NextReply::Pass;
            }
        }
        drop(reply);
        self.pass(&self.replica, bytes)
    }

    /// Forwards bytes, and cuts the connection if [`super::Proxy::cut_after_bytes`] says so.
    fn pass(&self, mut to: &Socket, bytes: &[u8]) -> io::Result<()> {
        match self.shared.count_bytes(bytes.len()) {
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

/// The packet with only its first statements. No literal contains `;`, because what clients sent is hexadecimal.
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
