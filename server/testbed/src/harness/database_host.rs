//! A host of the database as replicas see it: a way to the real one, which can be shut, or made read-only.

use std::net::{Ipv4Addr, SocketAddr};

use super::Database;
use crate::{HostStatus, Proxy, Upstream, url_at};

/// A host. Several may lead to one database: then they stand for hosts with the same data.
#[derive(Debug)]
pub struct DatabaseHost {
    url: String,
    proxy: Proxy,
}

impl DatabaseHost {
    /// Makes a host with this database.
    pub fn new(database: &Database, status: HostStatus) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), database, status)
    }

    /// As [`Self::new`], at this address.
    pub fn at(address: SocketAddr, database: &Database, status: HostStatus) -> Self {
        let url = database.url();
        let upstream = Upstream::of(&url).expect("DATABASE_URL is a mysql:// URL");
        let proxy = Proxy::at(address, upstream).expect("the port is free");
        proxy.set(status);
        Self {
            url: url_at(&url, proxy.address()).expect("DATABASE_URL is a mysql:// URL"),
            proxy,
        }
    }

    /// The URL for a replica.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Says how it behaves from now on, also on connections that exist.
    pub fn set(&self, status: HostStatus) {
        self.proxy.set(status);
    }

    /// How often somebody connected.
    pub fn connects(&self) -> usize {
        self.proxy.connects()
    }
}
