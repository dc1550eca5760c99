//! Connections that are upgraded from HTTP to another protocol (RFC 9110, section 7.8).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tiny_http::{Header, ReadWrite, Request};

use super::sockets;

/// The status of the response to an upgrade (RFC 9110, section 15.2.2).
pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

/// An upgraded connection. It is blocking and has the time-outs of the edge until its owner changes that, and is shut down when
/// it is dropped. Until then it holds three descriptors, and a sleeping thread of `tiny_http`.
pub struct Upgraded {
    stream: TcpStream,
    /// Reads first what came right after the request. Shuts down the connection when it is dropped.
    reader: Box<dyn ReadWrite + Send>,
}

impl Upgraded {
    /// Answers, and takes the connection over from `tiny_http`, which gives only one object to read and write.
    ///
    /// # Errors
    /// If the client is gone, or the process has no descriptor left.
    pub(super) fn answer(
        request: Request,
        peer: SocketAddr,
        protocol: &str,
        headers: Vec<(&'static str, String)>,
    ) -> io::Result<Self> {
        let mut response = tiny_http::Response::empty(SWITCHING_PROTOCOLS);
        for (name, value) in headers {
            let clean: String = value.chars().filter(char::is_ascii_graphic).collect();
            response.add_header(Header::from_bytes(name, clean).expect("it is ASCII"));
        }
        let reader = request.upgrade(protocol, response);
        let stream = sockets::duplicate(peer)?;
        Ok(Self { stream, reader })
    }

    /// The socket, for its options. A read from it would miss what is buffered already.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Read for Upgraded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    use clap::Parser;

    use super::*;
    use crate::http::{Edge, Endpoint, Exchange, Handler, HttpArgs, Problem, Service};
    use crate::telemetry::{Program, Registry};

    struct Echo;

    impl Service for Echo {
        const ENDPOINTS: &'static [Endpoint<Self>] = &[Endpoint::get("/", Handler::Inline(echo))];

        fn ready(&self, _deadline: Instant) -> Result<(), Problem> {
            Ok(())
        }
    }

    fn echo(_: &Echo, exchange: Exchange) {
        let headers = vec![("Greeting", "hello\r\n".to_owned())];
        exchange.upgrade("echo", headers, |mut upgraded| {
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

    fn edge() -> Arc<Edge<Echo>> {
        let options = HttpArgs::parse_from(["test", "--listen", "127.0.0.1:0"]);
        let registry = Registry::new(Program::new("test", ""));
        Edge::listen(options, registry, Echo).expect("a port is free")
    }

    #[test]
    fn an_upgraded_connection_belongs_to_its_owner_from_the_first_byte_behind_the_head() {
        let edge = edge();
        let address = edge.address().expect("it is bound");
        let stop = edge.stopper();
        let server = thread::spawn(move || edge.serve());

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
        stop();
        let ended = server.join().expect("it does not panic");
        assert!(
            ended.is_ok(),
            "it does not count as an open request: {ended:?}"
        );
        assert_eq!(echo(b"ended\n"), "ended\n");
        assert_eq!(echo(b""), "", "it is shut down when it is dropped");
    }
}
