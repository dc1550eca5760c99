//! Ways to a database, and URLs that lead another way.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use mysql::Opts;
use socket2::{Domain, SockAddr, Socket, Type};
use url::Url;

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// A TCP port.
    Port(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl Upstream {
    /// Where the database of this URL is.
    ///
    /// # Errors
    /// If the URL is malformed, or its host unknown.
    pub fn of(url: &str) -> Result<Self, Box<dyn Error>> {
        let options = Opts::from_url(url)?;
        if let Some(path) = options.get_socket() {
            return Ok(Self::Path(path.into()));
        }
        let host = options.get_ip_or_hostname();
        let mut found = (&*host, options.get_tcp_port()).to_socket_addrs()?;
        Ok(Self::Port(found.next().ok_or("the host has no address")?))
    }

    /// Makes a connection.
    pub fn connect(&self) -> io::Result<Socket> {
        let (domain, address) = match self {
            Self::Port(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Self::Path(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect(&address)?;
        if matches!(self, Self::Port(_)) {
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
