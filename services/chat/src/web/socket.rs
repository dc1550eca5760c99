//! One socket: reading, writing, and closing.

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

use super::handshake::SocketRequest;
use super::metrics::CountGuard;
use super::rate_limit::{Decision, RateLimiter};
use crate::message::{Frame, Refused, RoomId, parse_id};

/// Most bytes of a frame, and of a message of several frames. A message with the most characters fits, however it is escaped:
/// text and name take up to 12 bytes per character (`\uXXXX` twice), which is 48,768 bytes, and leaves room for other members.
const MAX_FRAME: usize = 60 << 10;
/// The read buffer of a socket, which it keeps in memory.
const READ_BUFFER: usize = 4 << 10;
/// Most bytes that are read from a socket before the others are read.
const READ_QUOTA: usize = 32 << 10;
/// Most bytes that are buffered for a client that does not read, in addition to the kernel's buffer. A client that exceeds it
/// is disconnected, and may resume.
const MAX_UNSENT: usize = 256 << 10;
/// Most bytes of a close frame (RFC 6455, section 5.5).
const MAX_CLOSE_FRAME: usize = 127;
/// How often a client is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A client that sends nothing for this long, not even a pong, is disconnected.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a client may take to close its side after the server has closed its own: it has to read to the end first.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that reads no more than a quota, and then would block.
struct QuotaStream {
    connection: Upgraded,
    remaining: usize,
}

impl Read for QuotaStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = self.remaining.min(into.len());
        let length = self.connection.read(&mut into[..most])?;
        self.remaining -= length;
        Ok(length)
    }
}

impl Write for QuotaStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

/// The room of a socket whose room was not found, and which is to be closed.
pub(super) const NO_ROOM: RoomId = RoomId(0);
/// Why a socket is closed, as the close frame says.
pub(super) type Reason = (CloseCode, &'static str);

/// The client does not read its history in time.
pub(super) const HISTORY_LATE: Reason = (
    CloseCode::Again,
    "History takes too long. Resume with `after`.",
);

/// A job for the join threads.
pub(super) enum JoinJob {
    /// A connection was upgraded, and becomes a socket.
    First(Upgraded, SocketRequest, CountGuard),
    /// The last part of a socket's history is written, and the next is to be sent. The deadline is that of the whole history.
    Next(Arc<Socket>, Instant),
}

/// A socket in its room, or on its way there.
pub(super) struct Socket {
    /// Unique in this process.
    pub(super) id: u64,
    pub(super) request: SocketRequest,
    pub(super) room: RoomId,
    state: Mutex<State>,
    /// The deadline of its history, while the next part waits until the last one is written.
    pub(super) history_deadline: Mutex<Option<Instant>>,
    /// Counts the socket until it is dropped.
    _guard: CountGuard,
}

struct State {
    socket: WebSocket<QuotaStream>,
    phase: Phase,
    /// The number of the last message that the client was sent, or had before.
    last_sent: u64,
    /// Whether output is pending until the client reads.
    unsent: bool,
    last_received: Instant,
    last_ping: Instant,
    limiter: RateLimiter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is written or pending; input is discarded. The connection is cut at this time.
    Closing(Instant),
    Gone,
}

/// The status of a socket after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// All output is written.
    Flushed,
    /// Output is pending until the client reads.
    Pending,
    /// The connection is over.
    Gone,
}

impl Socket {
    /// Creates a socket on an upgraded connection, and makes this non-blocking. The kernel keeps trying to send for as long as
    /// a client may be silent, so that a short network outage does not end the connection.
    pub(super) fn new(
        id: u64,
        request: SocketRequest,
        room: RoomId,
        seen: u64,
        connection: Upgraded,
        guard: CountGuard,
    ) -> io::Result<Self> {
        connection.stream().set_nonblocking(true)?;
        socket2::SockRef::from(connection.stream()).set_tcp_user_timeout(Some(SILENCE_TIMEOUT))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(READ_BUFFER)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let stream = QuotaStream {
            connection,
            remaining: READ_QUOTA,
        };
        let now = Instant::now();
        let state = State {
            socket: WebSocket::from_raw_socket(stream, Role::Server, Some(config)),
            phase: Phase::Open,
            last_sent: seen,
            unsent: false,
            last_received: now,
            last_ping: now,
            limiter: RateLimiter::new(now),
        };
        Ok(Self {
            id,
            request,
            room,
            state: Mutex::new(state),
            history_deadline: Mutex::default(),
            _guard: guard,
        })
    }

    /// The number of the last message that the client was sent, unless the socket is closed or closing.
    pub(super) fn last_sent_if_open(&self) -> Option<u64> {
        let state = self.state.lock();
        (state.phase == Phase::Open).then_some(state.last_sent)
    }

    /// Sends those of the frames that it was not sent before, if it is open, and returns how many. They must be frames of its
    /// room, in order and without a gap.
    pub(super) fn send(&self, frames: &[Frame]) -> (Status, usize) {
        let mut state = self.state.lock();
        let mut sent = 0;
        if state.phase == Phase::Open {
            for (seq, frame) in frames {
                if *seq <= state.last_sent {
                    continue;
                }
                if let Err(error) = state.socket.write(Message::Text(frame.clone())) {
                    state.fail(error);
                }
                // If it is still open, the frame is written or buffered.
                if state.phase != Phase::Open {
                    break;
                }
                state.last_sent = *seq;
                sent += 1;
            }
            state.flush();
        }
        (state.status(), sent)
    }

    /// Tells the client that a message is refused.
    pub(super) fn refuse(&self, refused: &Refused, id: Option<Uuid>) -> Status {
        let mut state = self.state.lock();
        state.refuse(refused, id);
        state.flush();
        state.status()
    }

    /// Sends a close frame with the reason.
    pub(super) fn close(&self, reason: Reason) -> Status {
        let mut state = self.state.lock();
        state.close(reason);
        state.status()
    }

    /// Reads frames up to the quota, and passes each text to `accept`, which may refuse it. Writes pending output.
    pub(super) fn read(&self, accept: impl Fn(&str) -> Result<(), Refused>) -> Status {
        let mut state = self.state.lock();
        state.socket.get_mut().remaining = READ_QUOTA;
        while state.phase == Phase::Open {
            match state.socket.read() {
                Ok(message) => state.receive(&message, &accept),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => state.fail(error),
            }
        }
        state.drain();
        state.flush();
        state.status()
    }

    /// Whether [`Socket::read`] ended at the quota, so that there may be more to read.
    pub(super) fn has_more(&self) -> bool {
        self.state.lock().socket.get_ref().remaining == 0
    }

    /// Checks the timeouts: pings the client, and disconnects it if it is silent or reads its history too slowly.
    pub(super) fn tick(&self, now: Instant) -> Status {
        let late = self
            .history_deadline
            .lock()
            .take_if(|deadline| now > *deadline);
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open if late.is_some() => state.close(HISTORY_LATE),
            Phase::Open if now.duration_since(state.last_received) > SILENCE_TIMEOUT => {
                state.phase = Phase::Gone;
            }
            Phase::Open if now.duration_since(state.last_ping) > PING_INTERVAL => {
                state.last_ping = now;
                if let Err(error) = state.socket.write(Message::Ping(Bytes::new())) {
                    state.fail(error);
                }
                state.flush();
            }
            Phase::Closing(until) if now > until => state.phase = Phase::Gone,
            Phase::Open | Phase::Closing(_) | Phase::Gone => {}
        }
        state.status()
    }

    /// Runs a function on its descriptor.
    pub(super) fn with_descriptor<T>(&self, run: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        run(self.state.lock().stream().as_fd())
    }
}

impl State {
    fn stream(&self) -> &std::net::TcpStream {
        self.socket.get_ref().connection.stream()
    }

    fn status(&self) -> Status {
        match self.phase {
            Phase::Gone => Status::Gone,
            Phase::Open | Phase::Closing(_) if self.unsent => Status::Pending,
            Phase::Open | Phase::Closing(_) => Status::Flushed,
        }
    }

    fn receive(&mut self, message: &Message, accept: &impl Fn(&str) -> Result<(), Refused>) {
        self.last_received = Instant::now();
        match message {
            // The library has queued the answer. The connection ends when that is written.
            Message::Close(_) => self.phase = Phase::Closing(self.last_received + CLOSE_TIMEOUT),
            Message::Pong(_) => {}
            _other => {
                let accepted = match (self.limiter.check(self.last_received), message) {
                    (Decision::Close, _) => {
                        return self.close((CloseCode::Policy, "Too many messages."));
                    }
                    (Decision::Refuse, _) => Err(Refused::TooMany),
                    (Decision::Accept, Message::Text(text)) => accept(text),
                    (Decision::Accept, Message::Ping(_)) => Ok(()),
                    (Decision::Accept, _binary) => Err(Refused::NoText),
                };
                if let Err(refused) = accepted {
                    let id = message.to_text().ok().and_then(parse_id);
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

    /// Acts on an error of a read or write: output is pending, the client is gone, or a close frame says why it is disconnected.
    fn fail(&mut self, error: Error) {
        match error {
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => self.unsent = true,
            Error::WriteBufferFull(_) => {
                let make_room =
                    |config: &mut WebSocketConfig| config.max_write_buffer_size += MAX_CLOSE_FRAME;
                self.socket.set_config(make_room);
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
        self.phase = Phase::Closing(Instant::now() + CLOSE_TIMEOUT);
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        // The flush shows whether it is written.
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
            // Either the closing handshake is complete, or the client is gone.
            Err(_over) => self.phase = Phase::Gone,
            Ok(()) if matches!(self.phase, Phase::Closing(_)) => {
                // Only the write side: to close the connection with unread input would reset it, and the client could lose
                // frames that are in transit. So input is drained until the client closes.
                let _gone = self.stream().shutdown(std::net::Shutdown::Write);
            }
            Ok(()) => {}
        }
    }

    /// Discards the input of a connection that is closing.
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
