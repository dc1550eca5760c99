//! The address of a database, and the same URL with another address.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mysql::Opts;
use socket2::{SockAddr, Socket, Type};
use url::Url;

/// The address of a database: a TCP port or a Unix socket.
#[derive(Debug, Clone)]
pub struct Upstream(SockAddr);

impl Upstream {
    /// The address of the database at this URL.
    ///
    /// # Errors
    /// If the URL is malformed or its host unknown.
    pub fn of(url: &str) -> Result<Self, Box<dyn Error>> {
        let options = Opts::from_url(url)?;
        if let Some(path) = options.get_socket() {
            return Ok(Self(SockAddr::unix(path)?));
        }
        let host = options.get_ip_or_hostname();
        let mut found = (&*host, options.get_tcp_port()).to_socket_addrs()?;
        Ok(Self(found.next().ok_or("the host has no address")?.into()))
    }

    /// Connects to it.
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

/// `url` with this address and without options: the same database and user.
pub fn url_at(url: &str, address: SocketAddr) -> Result<String, Box<dyn Error>> {
    let mut url = Url::parse(url)?;
    url.set_ip_host(address.ip())
        .and_then(|()| url.set_port(Some(address.port())))
        .map_err(|()| "a URL that takes no address")?;
    url.set_query(None);
    Ok(url.into())
}
