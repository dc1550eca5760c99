//! Ways to a database, and URLs that lead another way.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mysql::Opts;
use socket2::{SockAddr, Socket, Type};
use url::Url;

/// Where a database is: a TCP port, or a Unix socket.
#[derive(Debug, Clone)]
pub struct Upstream(SockAddr);

impl Upstream {
    /// Where the database of this URL is.
    ///
    /// # Errors
    /// If the URL is malformed, or its host unknown.
    pub fn of(url: &str) -> Result<Self, Box<dyn Error>> {
        let options = Opts::from_url(url)?;
        if let Some(path) = options.get_socket() {
            return Ok(Self(SockAddr::unix(path)?));
        }
        let host = options.get_ip_or_hostname();
        let mut found = (&*host, options.get_tcp_port()).to_socket_addrs()?;
        Ok(Self(found.next().ok_or("the host has no address")?.into()))
    }

    /// Makes a connection.
    pub fn connect(&self) -> io::Result<Socket> {
        let Self(address) = self;
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        socket.connect(address)?;
        if !address.is_unix() {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(socket)
    }
}

/// The URL of the same database as `url` for the same user, but through this address and without options.
pub fn url_at(url: &str, address: SocketAddr) -> Result<String, Box<dyn Error>> {
    let mut url = Url::parse(url)?;
    url.set_ip_host(address.ip())
        .and_then(|()| url.set_port(Some(address.port())))
        .map_err(|()| "a URL that takes no address")?;
    url.set_query(None);
    Ok(url.into())
}
