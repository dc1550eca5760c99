//! The listening socket, and the nudges that keep `tiny_http` from forgetting a connection.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{descriptors, sockets};

/// Connections that the kernel holds ready before they are accepted; it takes the less of this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes of replies that the system holds for one connection, of which it counts double for its own records. Left to itself
/// it would take up to `net.ipv4.tcp_wmem` for each client that does not read. The longest reply to a message fits.
const SEND_BUFFER: usize = 128 << 10;

/// Nudges that follow an arrival at once: each frees one connection that starves, and there may be more to come.
const FIRST_NUDGES: u64 = 100;
/// Pause between two of these.
const PAUSE_IN_BURST: Duration = Duration::from_micros(500);
/// Pause between two nudges in the time after a burst: some that came in it were no use.
const PAUSE_BEHIND_BURST: Duration = Duration::from_millis(20);
/// How long after an arrival nudges go on: as long as `tiny_http` keeps threads, among which connections may starve.
const UNREST: Duration = Duration::from_secs(5);
/// Descriptors that nudges on their way may hold.
const OWN_DESCRIPTORS: u64 = 6;
/// How often it is seen whether connections have arrived unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a listener that is to be closed may take to accept what waits.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Nudges before a listener is closed; each takes a fraction of a millisecond.
const LAST_NUDGES: usize = 100;

/// Binds and listens. What is set here is inherited by the accepted sockets, which `tiny_http` keeps to itself.
///
/// # Errors
/// As the system says, [`io::ErrorKind::AddrInUse`] among them.
pub(super) fn listen(
    address: SocketAddr,
    idle_timeout: Duration,
    send_timeout: Duration,
) -> io::Result<Socket> {
    sockets::listens_on(address);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // A reply must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    // A connection holds a thread. One that sends nothing, and one that does not read its reply or is gone without a
    // word, holds it no longer than this. The former ends `accept` as well, and with it the accept loop of tiny_http,
    // were it not for the nudges: with them, no `accept` waits as long.
    socket.set_read_timeout(Some(idle_timeout))?;
    socket.set_write_timeout(Some(send_timeout))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(send_timeout))?;
    socket.set_keepalive(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Opens and drops connections to the port of `listener` when others have arrived, while `goes_on` says so.
///
/// `tiny_http` 0.12 hands an accepted connection to a pool of threads. It queues the connection when it counts an idle
/// thread, but a woken thread is counted idle until it runs. In a burst of connections some are thus queued with nobody
/// left to serve them, until another connection closes (`TaskPool::spawn` in its source). Any further connection, a nudge,
/// sets this right for one of them: it wakes an idle thread or gets a new one, and that thread then takes from the queue.
///
/// Nothing tells for certain of an arrival: who waits for the listener to be readable sleeps on if the other thread has
/// accepted before it looks. But a connection can only starve if there are more connections than before, and so more
/// descriptors: they are counted now and then.
///
/// # Errors
/// If the listener is not bound.
pub(super) fn nudge_while(listener: &Socket, goes_on: impl Fn() -> bool) -> io::Result<()> {
    let address = reachable(listener)?;
    let idle_timeout = listener.read_timeout()?.unwrap_or(Duration::MAX);
    let look_interval = LOOK_INTERVAL.min(idle_timeout / 4);
    let (mut known, mut owed) = (0, 0);
    let (mut last_arrival, mut last_nudge) = (Instant::now(), Instant::now());
    while goes_on() {
        let is_unrest = last_arrival.elapsed() < UNREST;
        // Where the system does not tell, there may always be more.
        let open = descriptors::open().unwrap_or(known + 1);
        if open > known + if is_unrest { OWN_DESCRIPTORS } else { 0 } {
            // Two each, so there is a nudge for each connection, and one that is no use.
            owed += open - known;
            last_arrival = Instant::now();
            known = open;
        }
        known = known.min(open);
        // A nudge in time keeps `accept` from reaching the time-out of its socket.
        let is_due = owed > 0 || is_unrest || last_nudge.elapsed() >= idle_timeout / 2;
        if is_due {
            nudge(address);
            last_nudge = Instant::now();
            std::thread::sleep(if owed > 0 {
                PAUSE_IN_BURST
            } else {
                PAUSE_BEHIND_BURST
            });
            owed = owed.saturating_sub(1);
        } else if waits_for_arrival(listener, look_interval) {
            owed = FIRST_NUDGES;
            last_arrival = Instant::now();
        }
    }
    Ok(())
}

fn nudge(address: SocketAddr) {
    // Fails while the server stops, or if the system has no more to give to anybody.
    if let Ok(nudge) = TcpStream::connect_timeout(&address, PAUSE_BEHIND_BURST) {
        // Without this, each would leave a port of this machine in TIME_WAIT for a minute.
        let _ = Socket::from(nudge).set_linger(Some(Duration::ZERO));
    }
}

/// Whether a connection is seen to arrive in this time.
fn waits_for_arrival(listener: &Socket, time: Duration) -> bool {
    let time = Timespec::try_from(time).ok();
    let mut listener = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listener, time.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Refuses new connections from now on. Those that were made before are accepted and served first, if that does not take
/// long, and not beyond `deadline`: otherwise the kernel would reset them.
///
/// # Errors
/// As the system says.
pub(super) fn close(listener: &Socket, deadline: Instant) -> io::Result<()> {
    if let Ok(address) = reachable(listener) {
        let deadline = deadline.min(Instant::now() + ACCEPT_TIMEOUT);
        // Connections are accepted in the order in which they were made, so when the first of these is served, all
        // before it are accepted. Each one frees another that starves, as those of `nudge_while` do.
        let _all_served = (0..LAST_NUDGES).all(|_| nudge_and_wait(address, deadline).is_ok());
    }
    listener.shutdown(Shutdown::Both)
}

fn nudge_and_wait(address: SocketAddr, deadline: Instant) -> io::Result<()> {
    // No time left is an error as well.
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut nudge = TcpStream::connect_timeout(&address, left())?;
    nudge.shutdown(Shutdown::Write)?;
    nudge.set_read_timeout(Some(left()))?;
    nudge.read(&mut [0]).map(drop)
}

/// Where it listens.
pub(super) fn address(listener: &Socket) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The address by which this machine reaches a listener that may be bound to all addresses.
fn reachable(listener: &Socket) -> io::Result<SocketAddr> {
    let mut address = address(listener)?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_a_listener_takes_no_longer_than_its_deadline_however_slowly_it_accepts() {
        let timeout = Duration::from_secs(60);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any_port, timeout, timeout).expect("a port is free");
        let slow = listener.try_clone().expect("a descriptor is free");
        std::thread::spawn(move || {
            while let Ok((connection, _)) = slow.accept() {
                std::thread::sleep(Duration::from_millis(100));
                drop(connection);
            }
        });
        let begun = Instant::now();
        close(&listener, begun + Duration::from_millis(300)).expect("it is open");
        // For a loaded machine. All nudges would take ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}
