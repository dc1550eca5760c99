//! One socket: what it reads, what it writes, and when it is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundation::http::Upgraded;
use parking_lot::Mutex;
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Message, Utf8Bytes, WebSocket};
use uuid::Uuid;

use super::allowance::{Allowance, Allowed};
use super::handshake::Wanted;
use super::metrics::Counted;
use crate::message::{Frame, Refused, RoomId, id_of};

/// Bytes of a frame, and of a message of several, at most. A message of the most characters fits, however it is escaped: text
/// and name take 12 bytes a character, `\uXXXX` twice, which are 48,768, and there is room for other members.
const MAX_FRAME: usize = 60 << 10;
/// What a socket reads at once, and keeps in memory for that.
const READ_BUFFER: usize = 4 << 10;
/// What is read of a socket before it is another's turn.
const TURN: usize = 32 << 10;
/// What waits for a client who does not read, beside what the system holds. Who has more to come is closed, and may resume.
const MAX_UNSENT: usize = 256 << 10;
/// Bytes of a close frame at most (RFC 6455, section 5.5).
const MAX_REASON: usize = 127;
/// How often a client is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a client may say nothing, not even that it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a client may take to close its side after ours, which had it to read to the end.
const CLOSING: Duration = Duration::from_secs(2);

/// A connection whose turn ends after so many bytes.
struct Turns {
    connection: Upgraded,
    left: usize,
}

impl Read for Turns {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = self.left.min(into.len());
        let length = self.connection.read(&mut into[..most])?;
        self.left -= length;
        Ok(length)
    }
}

impl Write for Turns {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

/// Stands for the room of a socket that finds none, and is closed.
pub(super) const NO_ROOM: RoomId = RoomId(0);
/// Why a socket is closed, as its client is told.
pub(super) type Reason = (CloseCode, &'static str);

/// The client does not read its history in time.
pub(super) const LATE: Reason = (
    CloseCode::Again,
    "History takes too long. Resume with `after`.",
);

/// A connection that is about to enter a room.
pub(super) enum Joining {
    /// It has left HTTP.
    First(Upgraded, Wanted, Counted),
    /// Its client has read the last part of its history. All of it may take until this moment.
    Next(Arc<Socket>, Instant),
}

/// A socket of a room.
pub(super) struct Socket {
    /// Its name in this process.
    pub(super) id: u64,
    pub(super) wanted: Wanted,
    pub(super) room: RoomId,
    state: Mutex<State>,
    /// Until when it may enter its room, while that waits until the client has read what was sent.
    pub(super) entering: Mutex<Option<Instant>>,
    /// Counts it, until it is dropped.
    _counted: Counted,
}

struct State {
    socket: WebSocket<Turns>,
    phase: Phase,
    /// The number of the last message that it was sent, or had before.
    seen: u64,
    /// Whether something waits to be written until the client reads.
    unsent: bool,
    heard: Instant,
    pinged: Instant,
    allowance: Allowance,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is written, or waits to be; what still comes is thrown away until this moment.
    Closing(Instant),
    Gone,
}

/// What became of a socket in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// All is written.
    Written,
    /// Something waits until the client reads.
    Unsent,
    /// It is over.
    Gone,
}

impl Socket {
    /// A socket on a connection that has left HTTP, which does not block from now on. A client that is away for a moment is
    /// not given up sooner than one that says nothing.
    pub(super) fn new(
        id: u64,
        wanted: Wanted,
        room: RoomId,
        seen: u64,
        connection: Upgraded,
        counted: Counted,
    ) -> io::Result<Self> {
        connection.stream().set_nonblocking(true)?;
        socket2::SockRef::from(connection.stream()).set_tcp_user_timeout(Some(SILENCE))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(READ_BUFFER)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let turns = Turns {
            connection,
            left: TURN,
        };
        let now = Instant::now();
        let state = State {
            socket: WebSocket::from_raw_socket(turns, Role::Server, Some(config)),
            phase: Phase::Open,
            seen,
            unsent: false,
            heard: now,
            pinged: now,
            allowance: Allowance::new(now),
        };
        Ok(Self {
            id,
            wanted,
            room,
            state: Mutex::new(state),
            entering: Mutex::default(),
            _counted: counted,
        })
    }

    /// The number of the last message that it was sent, unless it is closed or being closed.
    pub(super) fn seen_if_open(&self) -> Option<u64> {
        let state = self.state.lock();
        (state.phase == Phase::Open).then_some(state.seen)
    }

    /// Sends those of these frames of its room that it has not got, if it is open. They are in order and without a hole.
    pub(super) fn show(&self, frames: &[Frame]) -> (Standing, usize) {
        let mut state = self.state.lock();
        let mut sent = 0;
        if state.phase == Phase::Open {
            for (seq, frame) in frames {
                if *seq <= state.seen {
                    continue;
                }
                if let Err(error) = state.socket.write(Message::Text(frame.clone())) {
                    state.fail(error);
                }
                // Else the frame is written, or waits until the client reads.
                if state.phase != Phase::Open {
                    break;
                }
                state.seen = *seq;
                sent += 1;
            }
            state.flush();
        }
        (state.standing(), sent)
    }

    /// Tells the client that what it sent was not taken.
    pub(super) fn refuse(&self, refused: &Refused, id: Option<Uuid>) -> Standing {
        let mut state = self.state.lock();
        state.refuse(refused, id);
        state.flush();
        state.standing()
    }

    /// Says why, and closes.
    pub(super) fn close(&self, reason: Reason) -> Standing {
        let mut state = self.state.lock();
        state.close(reason);
        state.standing()
    }

    /// Takes what has come, and hands each text to `take`, which may refuse it. Writes what waits.
    pub(super) fn read(&self, take: impl Fn(&str) -> Result<(), Refused>) -> Standing {
        let mut state = self.state.lock();
        state.socket.get_mut().left = TURN;
        while state.phase == Phase::Open {
            match state.socket.read() {
                Ok(message) => state.receive(&message, &take),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => state.fail(error),
            }
        }
        state.drain();
        state.flush();
        state.standing()
    }

    /// Whether its turn to be read has ended before all was read.
    pub(super) fn has_more(&self) -> bool {
        self.state.lock().socket.get_ref().left == 0
    }

    /// Sees to what time brings: asks whether the client is there, and gives it up if not, or if it reads its history for too
    /// long.
    pub(super) fn tick(&self, now: Instant) -> Standing {
        let late = self.entering.lock().take_if(|deadline| now > *deadline);
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open if late.is_some() => state.close(LATE),
            Phase::Open if now.duration_since(state.heard) > SILENCE => state.phase = Phase::Gone,
            Phase::Open if now.duration_since(state.pinged) > PING_INTERVAL => {
                state.pinged = now;
                if let Err(error) = state.socket.write(Message::Ping(Bytes::new())) {
                    state.fail(error);
                }
                state.flush();
            }
            Phase::Closing(until) if now > until => state.phase = Phase::Gone,
            Phase::Open | Phase::Closing(_) | Phase::Gone => {}
        }
        state.standing()
    }

    /// Borrows its descriptor.
    pub(super) fn with_descriptor<T>(&self, run: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        run(self.state.lock().stream().as_fd())
    }
}

impl State {
    fn stream(&self) -> &std::net::TcpStream {
        self.socket.get_ref().connection.stream()
    }

    fn standing(&self) -> Standing {
        match self.phase {
            Phase::Gone => Standing::Gone,
            Phase::Open | Phase::Closing(_) if self.unsent => Standing::Unsent,
            Phase::Open | Phase::Closing(_) => Standing::Written,
        }
    }

    fn receive(&mut self, message: &Message, take: &impl Fn(&str) -> Result<(), Refused>) {
        self.heard = Instant::now();
        match message {
            // Answered already. The connection ends when the answer is written.
            Message::Close(_) => self.phase = Phase::Closing(self.heard + CLOSING),
            Message::Pong(_) => {}
            _other => {
                let taken = match (self.allowance.take(self.heard), message) {
                    (Allowed::NoMore, _) => {
                        return self.close((CloseCode::Policy, "Too many messages."));
                    }
                    (Allowed::No, _) => Err(Refused::TooMany),
                    (Allowed::Yes, Message::Text(text)) => take(text),
                    (Allowed::Yes, Message::Ping(_)) => Ok(()),
                    (Allowed::Yes, _binary) => Err(Refused::NoText),
                };
                if let Err(refused) = taken {
                    let id = message.to_text().ok().and_then(id_of);
                    self.refuse(&refused, id);
                }
            }
        }
    }

    fn refuse(&mut self, refused: &Refused, id: Option<Uuid>) {
        if self.phase == Phase::Open
            && let Err(error) = self.socket.write(Message::text(refused.frame(id)))
        {
            self.fail(error);
        }
    }

    /// What an error means for the client: it is gone, or is told why it is closed.
    fn fail(&mut self, error: Error) {
        match error {
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => self.unsent = true,
            Error::WriteBufferFull(_) => {
                let room =
                    |config: &mut WebSocketConfig| config.max_write_buffer_size += MAX_REASON;
                self.socket.set_config(room);
                self.close((
                    CloseCode::Again,
                    "You read too slowly. Resume with `after`.",
                ));
            }
            Error::Capacity(_) => {
                self.close((CloseCode::Size, "A message takes 61440 bytes at most."));
            }
            Error::Utf8(_) => self.close((CloseCode::Invalid, "A text is not UTF-8.")),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                self.phase = Phase::Gone;
            }
            Error::Protocol(_) => self.close((CloseCode::Protocol, "This is not WebSocket.")),
            _gone => self.phase = Phase::Gone,
        }
    }

    fn close(&mut self, (code, reason): Reason) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing(Instant::now() + CLOSING);
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        // Whether it is written is seen when all is flushed.
        let _queued = self.socket.close(Some(frame));
        self.flush();
    }

    fn flush(&mut self) {
        if self.phase == Phase::Gone {
            return;
        }
        self.unsent = false;
        match self.socket.flush() {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => self.unsent = true,
            // The client has closed, and our answer is written.
            Err(_over) => self.phase = Phase::Gone,
            Ok(()) if matches!(self.phase, Phase::Closing(_)) => {
                // The client reads to the end before it is told of anything else: what it still sends would, unread, have
                // the system cut the connection, and with it what is on the way.
                let _gone = self.stream().shutdown(std::net::Shutdown::Write);
            }
            Ok(()) => {}
        }
    }

    /// Throws away what still comes on a connection that is being closed.
    fn drain(&mut self) {
        let mut bytes = [0; READ_BUFFER];
        while matches!(self.phase, Phase::Closing(_)) {
            match self.socket.get_mut().read(&mut bytes) {
                Ok(0) => self.phase = Phase::Gone,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_gone) => self.phase = Phase::Gone,
            }
        }
    }
}
