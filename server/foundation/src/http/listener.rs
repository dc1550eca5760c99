//! The listening socket, and the nudges: connections to ourselves that keep `tiny_http` from forgetting a client's.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{HttpArgs, descriptors, sockets};

/// Connections that the kernel holds ready before they are accepted; it takes the less of this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The send buffer of a connection in bytes, which the system doubles for its own use. By default it grows up to
/// `net.ipv4.tcp_wmem` for each client that does not read. The longest reply to a message fits.
const SEND_BUFFER: usize = 128 << 10;

/// Nudges right after an arrival: each frees one starving connection, and more connections may follow.
const FIRST_NUDGES: u64 = 100;
/// The pause between two of these.
const PAUSE_IN_BURST: Duration = Duration::from_micros(500);
/// The pause between two nudges after a burst: some nudges during the burst had no effect.
const PAUSE_BEHIND_BURST: Duration = Duration::from_millis(20);
/// How long nudges go on after an arrival: as long as `tiny_http` keeps idle threads, because of which connections may starve.
const NUDGE_PERIOD: Duration = Duration::from_secs(5);
/// Descriptors that open nudges may hold.
const OWN_DESCRIPTORS: u64 = 6;
/// How often it is checked whether connections have arrived unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a listener that is being closed may take to accept pending connections.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Nudges before a listener is closed. Each takes a fraction of a millisecond.
const LAST_NUDGES: usize = 100;

/// Binds and listens. Accepted sockets, which `tiny_http` does not show, inherit the options that are set here.
///
/// # Errors
/// As the system says, [`io::ErrorKind::AddrInUse`] among them.
pub(super) fn listen(options: &HttpArgs) -> io::Result<Socket> {
    let address = options.listen;
    sockets::listens_on(address);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // A response must not wait for the acknowledgement of the one before (Nagle's algorithm).
    socket.set_tcp_nodelay(true)?;
    // A connection holds a thread. If its client sends nothing, does not read the response, or is gone, it holds the thread no
    // longer than this. The read time-out applies to `accept` as well, and would end the accept loop of tiny_http; because of
    // the nudges no `accept` waits that long.
    socket.set_read_timeout(Some(options.idle_timeout))?;
    socket.set_write_timeout(Some(options.send_timeout))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(options.send_timeout))?;
    socket.set_keepalive(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Opens and drops connections to the port of `listener` after clients have connected, as long as `goes_on` returns true.
///
/// `tiny_http` 0.12 passes accepted connections to a pool of threads. It queues a connection if it counts an idle thread, but
/// a thread that was woken counts as idle until it runs. So in a burst, connections may be queued with no thread left to serve
/// them, until another connection closes (`TaskPool::spawn` in its source). Any further connection, a nudge, sets this right
/// for one of them: it wakes an idle thread or starts a new one, which then takes from the queue.
///
/// No signal of an arrival is reliable: the accepting thread may accept a connection before the poll of the listener here sees
/// it. But a connection can only starve if there are more connections than before, and so more descriptors: these are counted
/// now and then.
///
/// # Errors
/// If the listener is not bound.
pub(super) fn nudge_while(listener: &Socket, goes_on: impl Fn() -> bool) -> io::Result<()> {
    let address = address(listener)?;
    let idle_timeout = listener.read_timeout()?.unwrap_or(Duration::MAX);
    let look_interval = LOOK_INTERVAL.min(idle_timeout / 4);
    let (mut known, mut pending) = (0, 0);
    let (mut last_arrival, mut last_nudge) = (Instant::now(), Instant::now());
    while goes_on() {
        let is_recent = last_arrival.elapsed() < NUDGE_PERIOD;
        // If the system does not tell, there may always be more.
        let open = descriptors::open().unwrap_or(known + 1);
        if open > known + if is_recent { OWN_DESCRIPTORS } else { 0 } {
            // A connection has two descriptors, so this is one nudge more than needed for each.
            pending += open - known;
            last_arrival = Instant::now();
            known = open;
        }
        known = known.min(open);
        // A nudge in time keeps `accept` from reaching the time-out of its socket.
        let is_due = pending > 0 || is_recent || last_nudge.elapsed() >= idle_timeout / 2;
        if is_due {
            nudge(address);
            last_nudge = Instant::now();
            std::thread::sleep(if pending > 0 {
                PAUSE_IN_BURST
            } else {
                PAUSE_BEHIND_BURST
            });
            pending = pending.saturating_sub(1);
        } else if waits_for_arrival(listener, look_interval) {
            pending = FIRST_NUDGES;
            last_arrival = Instant::now();
        }
    }
    Ok(())
}

fn nudge(address: SocketAddr) {
    // Fails while the server stops, or if the system has no resources left.
    if let Ok(nudge) = TcpStream::connect_timeout(&address, PAUSE_BEHIND_BURST) {
        // Otherwise each would leave a local port in TIME_WAIT for a minute.
        let _ = Socket::from(nudge).set_linger(Some(Duration::ZERO));
    }
}

/// Waits for a connection to arrive, and returns whether one was seen in this time.
fn waits_for_arrival(listener: &Socket, time: Duration) -> bool {
    let time = Timespec::try_from(time).ok();
    let mut listener = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listener, time.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Closes the listener, so that new connections are refused. Pending ones are accepted and served first, because the kernel would
/// reset them; for a short time only, and not beyond `deadline`.
///
/// # Errors
/// As the system says.
pub(super) fn close(listener: &Socket, deadline: Instant) -> io::Result<()> {
    if let Ok(address) = address(listener) {
        let deadline = deadline.min(Instant::now() + ACCEPT_TIMEOUT);
        // Connections are accepted in order, so when the first nudge is served, all before it are accepted. Each nudge frees one
        // starving connection, as in `nudge_while`.
        let _all_served = (0..LAST_NUDGES).all(|_| nudge_and_wait(address, deadline).is_ok());
    }
    listener.shutdown(Shutdown::Both)
}

fn nudge_and_wait(address: SocketAddr, deadline: Instant) -> io::Result<()> {
    // A time-out of zero is an error as well.
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut nudge = TcpStream::connect_timeout(&address, left())?;
    nudge.shutdown(Shutdown::Write)?;
    nudge.set_read_timeout(Some(left()))?;
    nudge.read(&mut [0]).map(drop)
}

/// Where it listens. From this machine it is reached there also if that is the unspecified address, which then means loopback.
pub(super) fn address(listener: &Socket) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn closing_a_listener_takes_no_longer_than_its_deadline_however_slowly_it_accepts() {
        let options = HttpArgs::parse_from(["test", "--listen", "127.0.0.1:0"]);
        let listener = listen(&options).expect("a port is free");
        let slow = listener.try_clone().expect("a descriptor is free");
        std::thread::spawn(move || {
            while let Ok((connection, _)) = slow.accept() {
                std::thread::sleep(Duration::from_millis(100));
                drop(connection);
            }
        });
        let begun = Instant::now();
        close(&listener, begun + Duration::from_millis(300)).expect("it is open");
        // Generous, for a loaded machine. All nudges would take ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}
