//! Shuts down and duplicates connections, whose sockets `tiny_http` does not show.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
pub(super) use nix::sys::socket::Shutdown;
use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrStorage, getpeername, getsockname, sendmsg, shutdown,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::descriptors;

/// Most descriptors that are searched, if the system sets no limit.
const MAX_DESCRIPTORS: RawFd = 1 << 20;

/// Whether this process listens on several addresses, so that one peer may have a connection to each of them.
static HAS_SEVERAL_ADDRESSES: AtomicBool = AtomicBool::new(false);

/// To be called before connections to this address are accepted.
pub(super) fn listens_on(address: SocketAddr) {
    if address.ip().is_unspecified() {
        HAS_SEVERAL_ADDRESSES.store(true, Ordering::Relaxed);
    }
}

/// Shuts down the connection with `peer`. With [`Shutdown::Write`] nothing that is written to it from now on is sent; with
/// [`Shutdown::Both`] a read from it finds its end as well.
///
/// To be called only while the reader or the writer of that connection is held: then no other connection has this peer, unless
/// it is with another address of this machine: then neither is found. A socket whose connection was reset has no peer, and is
/// not found.
pub(super) fn shut_down(peer: SocketAddr, how: Shutdown) {
    if let Some(descriptor) = find(peer) {
        // Fails if the peer has closed it meanwhile.
        let _ = shutdown(descriptor, how);
    }
}

/// Another descriptor of the connection with `peer`. To be called like [`shut_down`].
///
/// # Errors
/// If the connection was reset, or the process has no descriptor left.
pub(super) fn duplicate(peer: SocketAddr) -> io::Result<TcpStream> {
    let descriptor = find(peer).ok_or(io::ErrorKind::NotConnected)?;
    // Without `unsafe`, a descriptor that is known only by its number can be duplicated by sending it to oneself.
    let (near, far) = UnixStream::pair()?;
    let (byte, rights) = (
        [IoSlice::new(&[0])],
        [ControlMessage::ScmRights(&[descriptor])],
    );
    sendmsg::<()>(near.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut received = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let into = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(&far, into, &mut received, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = received.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let duplicate = descriptors.next().and_then(|mut sent| sent.next());
    // The system leaves it out if no descriptor is free.
    Ok(duplicate.ok_or(Errno::EMFILE)?.into())
}

/// The number of a descriptor of the connection with `peer`.
fn find(peer: SocketAddr) -> Option<RawFd> {
    // The number of open descriptors is no bound, because others are opened and closed meanwhile. Without a free descriptor the
    // table's size cannot be read. Searched from the end, because the newest most often have the highest numbers.
    let end = descriptors::table_size()
        .or_else(descriptors::most)
        .and_then(|end| RawFd::try_from(end).ok())
        .map_or(MAX_DESCRIPTORS, |end| end.min(MAX_DESCRIPTORS));
    let mut found = (0..end).rev().filter(|&descriptor| {
        getpeername::<SockaddrStorage>(descriptor)
            .is_ok_and(|address| as_std(&address) == Some(peer))
    });
    let newest = found.next()?;
    if !HAS_SEVERAL_ADDRESSES.load(Ordering::Relaxed) {
        return Some(newest);
    }
    // `tiny_http` does not tell the local address of a connection.
    let local = |descriptor| getsockname::<SockaddrStorage>(descriptor).ok();
    let address = local(newest);
    found.all(|other| local(other) == address).then_some(newest)
}

/// Whether this is a descriptor of the listener at `address`, and not of a connection that it accepted, which has a peer.
pub(super) fn is_listener(descriptor: RawFd, address: SocketAddr) -> bool {
    getsockname::<SockaddrStorage>(descriptor).is_ok_and(|local| as_std(&local) == Some(address))
        && getpeername::<SockaddrStorage>(descriptor).is_err()
}

fn as_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().copied().map(SocketAddrV4::from);
    let v6 = address.as_sockaddr_in6().copied().map(SocketAddrV6::from);
    v4.map(SocketAddr::from).or(v6.map(SocketAddr::from))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_connection_is_duplicated_and_shut_down_by_its_peer_and_others_are_not() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            assert!(is_listener(listener.as_raw_fd(), address));
            let connect = || {
                let near = TcpStream::connect(address).expect("it listens");
                (near, listener.accept().expect("one waits").0)
            };
            let [(mut near, mut far), (mut other_near, mut other_far)] = [connect(), connect()];
            assert!(!is_listener(far.as_raw_fd(), address));
            let peer = near.local_addr().expect("it is connected");
            let mut duplicate = duplicate(peer).expect("a descriptor is free");
            near.write_all(b"x").expect("it is open");
            assert_eq!(duplicate.read(&mut [0]).ok(), Some(1), "it is the same");
            shut_down(peer, Shutdown::Write);
            assert!(far.write(b"x").is_err(), "nothing is sent");
            assert_eq!(near.read(&mut [0]).ok(), Some(0));
            near.write_all(b"x").expect("it is open in this direction");
            assert_eq!(far.read(&mut [0]).ok(), Some(1));
            shut_down(peer, Shutdown::Both);
            assert_eq!(far.read(&mut [0]).ok(), Some(0));
            other_far.write_all(b"x").expect("it is open");
            assert_eq!(other_near.read(&mut [0]).ok(), Some(1));
        }
    }

    #[test]
    fn of_two_connections_of_one_peer_with_two_addresses_of_this_machine_neither_is_found() {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        listens_on(any);
        let listener = TcpListener::bind(any).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let connect = |from: SocketAddr, last: u8| {
            let near = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
            near.set_reuse_address(true).expect("it is new");
            near.bind(&from.into()).expect("it is free but for ours");
            let to = SocketAddr::from(([127, 0, 0, last], port));
            near.connect(&to.into()).expect("it listens");
            let address = near
                .local_addr()
                .ok()
                .and_then(|address| address.as_socket());
            let far = listener.accept().expect("one waits").0;
            (near, far, address.expect("it is connected"))
        };
        let (_near, far, peer) = connect(SocketAddr::from(([127, 0, 0, 1], 0)), 1);
        let _duplicate = duplicate(peer).expect("a descriptor is free");
        assert!(duplicate(peer).is_ok(), "of the same connection");
        let (_other_near, other_far, same_peer) = connect(peer, 2);
        assert_eq!(peer, same_peer);
        assert!(duplicate(peer).is_err());
        shut_down(peer, Shutdown::Both);
        for mut far in [&far, &other_far] {
            assert!(far.write(b"x").is_ok(), "it is open");
        }
        drop(other_far);
        assert!(duplicate(peer).is_ok());
    }

    #[test]
    fn a_connection_is_found_however_many_descriptors_are_opened_and_closed_meanwhile() {
        let open = |files: usize| -> Vec<_> {
            let open = || File::open("/dev/null").expect("a descriptor is free");
            (0..files).map(|_| open()).collect()
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let lower = open(400);
        let near = TcpStream::connect(address).expect("it listens");
        let _far = listener.accept().expect("one waits");
        let peer = near.local_addr().expect("it is connected");
        drop(lower);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // More threads than processors, so that the search is interrupted now and then.
            for _ in 0..8 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        drop(open(50));
                    }
                });
            }
            let found = (0..2000).filter(|_| find(peer).is_some()).count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(found, 2000);
        });
    }
}
