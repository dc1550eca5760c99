//! Connections that go on as something else than HTTP (RFC 9110, section 7.8).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use tiny_http::{Header, ReadWrite, Request};

use super::sockets;

/// Bytes that `tiny_http` may have read behind the head of a request.
const READ_AHEAD: usize = 1024;
/// The status of an answer after which the connection leaves HTTP (RFC 9110, section 15.2.2).
pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

/// A connection that has left HTTP. It blocks, and has the time-outs of the edge, until its owner changes that; it is shut
/// down when it is dropped. Until then it holds three descriptors, and a thread of `tiny_http` that sleeps.
pub struct Upgraded {
    stream: TcpStream,
    /// What came behind the head of the request and is not read yet.
    early: Vec<u8>,
    /// Shuts the connection down when it is dropped, and would let only one thread at a time read or write.
    _handles: Box<dyn ReadWrite + Send>,
}

/// What a request asks its connection to become.
pub(super) struct Upgrade {
    protocol: &'static str,
    headers: Vec<Header>,
    afterwards: Box<dyn FnOnce(Upgraded) + Send>,
}

impl Upgrade {
    /// Control characters in `headers` are left out.
    pub(super) fn new(
        protocol: &'static str,
        headers: &[(&'static str, &str)],
        afterwards: Box<dyn FnOnce(Upgraded) + Send>,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let clean: String = value.chars().filter(char::is_ascii_graphic).collect();
            Header::from_bytes(*name, clean).expect("it is ASCII")
        });
        Self {
            protocol,
            headers: headers.collect(),
            afterwards,
        }
    }

    /// Answers, takes the connection out of the hands of `tiny_http`, which gives only one object to read and write, and
    /// hands it over to its owner.
    ///
    /// # Errors
    /// If the client is gone, or the process has no descriptor left.
    pub(super) fn answer(
        self,
        request: Request,
        peer: SocketAddr,
        program: &'static str,
    ) -> io::Result<()> {
        let server = Header::from_bytes("Server", program).expect("it is a constant");
        let response = tiny_http::Response::empty(SWITCHING_PROTOCOLS).with_header(server);
        let response = self
            .headers
            .into_iter()
            .fold(response, tiny_http::Response::with_header);
        let handles = request.upgrade(self.protocol, response);
        (self.afterwards)(Upgraded::take(handles, peer)?);
        Ok(())
    }
}

impl Upgraded {
    fn take(mut handles: Box<dyn ReadWrite + Send>, peer: SocketAddr) -> io::Result<Self> {
        let stream = sockets::duplicate(peer)?;
        let mut early = vec![0; READ_AHEAD];
        stream.set_nonblocking(true)?;
        let length = match handles.read(&mut early) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read?,
        };
        stream.set_nonblocking(false)?;
        early.truncate(length);
        Ok(Self {
            stream,
            early,
            _handles: handles,
        })
    }

    /// The connection, for its settings. Who reads from it misses what has been read already.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Read for Upgraded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.stream.read(into);
        }
        let length = self.early.len().min(into.len());
        into[..length].copy_from_slice(&self.early[..length]);
        self.early.drain(..length);
        Ok(length)
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl AsFd for Upgraded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::http::{Edge, EdgeLimits, Endpoint, Exchange, Handler, Problem, Service, listen};
    use crate::telemetry::{Program, Registry};

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Echo;

    impl Service for Echo {
        const ENDPOINTS: &'static [Endpoint<Self>] = &[Endpoint::get("/", Handler::Inline(echo))];

        fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
            Ok(())
        }
    }

    fn echo(_: &Echo, exchange: Exchange) {
        let headers = [("Greeting", "hello\r\n")];
        exchange.upgrade("echo", &headers, |mut upgraded| {
            thread::spawn(move || {
                let mut writer = upgraded.stream().try_clone().expect("a descriptor is free");
                let mut line = [0; 6];
                while upgraded.read_exact(&mut line).is_ok() {
                    // Reads on while another thread writes.
                    let echo = move || writer.write_all(&line).map(|()| writer);
                    let echoed = thread::spawn(echo).join().expect("it does not panic");
                    writer = echoed.expect("the client reads");
                    if &line == b"ended\n" {
                        return;
                    }
                }
            });
        });
    }

    fn edge() -> Edge {
        let limits = EdgeLimits {
            body_limit: 0,
            workers: 1,
            request_timeout: PATIENCE,
            shutdown_timeout: PATIENCE,
        };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any_port, PATIENCE, PATIENCE).expect("a port is free");
        let registry = Registry::new(Program::new("test", ""));
        Edge::new(listener, limits, registry).expect("it is bound")
    }

    #[test]
    fn an_upgraded_connection_is_its_owner_s_from_the_first_byte_behind_the_head() {
        let edge = edge();
        let address = edge.address().expect("it is bound");
        let stopper = edge.stopper().expect("a descriptor is free");
        let server = thread::spawn(move || edge.serve(Arc::new(Echo)));

        let mut client = BufReader::new(TcpStream::connect(address).expect("it listens"));
        let request =
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly\n";
        client.get_mut().write_all(request).expect("it reads");
        let lines = client.by_ref().lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 101 Switching Protocols");
        for header in ["connection: upgrade", "upgrade: echo", "greeting: hello"] {
            assert!(
                head.iter().any(|line| line.to_lowercase() == header),
                "{head:?}"
            );
        }
        let mut echo = |send: &[u8]| {
            client.get_mut().write_all(send).expect("it reads");
            let mut line = String::new();
            client.read_line(&mut line).expect("it writes");
            line
        };
        assert_eq!(echo(b""), "early\n");
        assert_eq!(echo(b"later\n"), "later\n");
        stopper.stop();
        let ended = server.join().expect("it does not panic");
        assert!(ended.is_ok(), "it is no request that waits: {ended:?}");
        assert_eq!(echo(b"ended\n"), "ended\n");
        assert_eq!(echo(b""), "", "dropped, it is shut down");
    }
}
