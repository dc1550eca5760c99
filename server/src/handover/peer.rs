//! The giving side: who the peer is, whether it is there, and what it does with a batch.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use url::Url;
use uuid::Uuid;

use crate::error::Error;
use crate::message::{Post, Window};
use crate::store::{self, Store};

use super::call::{Budget, Caller, Refusal};
use super::wire;

/// A peer that is not there, or stored nothing since it was there, is asked again after pauses that grow: one that takes
/// batches and never stores them costs its callers a time-out each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where a replica is.
#[derive(Debug, Clone)]
pub struct PeerUrl(Url);

impl FromStr for PeerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write it like http://127.0.0.1:8001";
        let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if url.scheme() != "http" || !bare || !anonymous {
            return Err(format!(
                "a replica is named by http, host and port alone; {example}"
            ));
        }
        Ok(Self(url))
    }
}

impl PeerUrl {
    /// None, with a warning, if this is the replica itself, which listens at `own`: as where all replicas share their options.
    #[must_use]
    pub fn of_another(self, own: SocketAddr) -> Option<Self> {
        if self.leads_to(own) {
            tracing::warn!(peer = %self, "told to hand over to itself: handing no batches over, and taking those of others");
            return None;
        }
        Some(self)
    }

    fn leads_to(&self, own: SocketAddr) -> bool {
        let addresses = self.0.socket_addrs(|| None).unwrap_or_default();
        addresses.iter().any(|address| {
            let on_all = own.ip().is_unspecified() && is_of_this_machine(address.ip());
            address.port() == own.port() && (address.ip() == own.ip() || on_all)
        })
    }
}

/// What goes to an address of this machine comes from there. Sends nothing.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 1))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The replica that stores for this one.
pub struct Peer {
    watched: Arc<Watched>,
    /// Tells the watch that it is not there any more.
    lost: Sender<()>,
    /// Larger batches are not handed over: the peer takes no larger body.
    most_bytes: usize,
    /// Longest time for a batch.
    patience: Duration,
}

/// What the writer and the watch share.
struct Watched {
    url: PeerUrl,
    there: Mutex<Option<There>>,
    /// It has stored a batch since it was asked.
    is_of_use: AtomicBool,
}

/// A peer that takes batches.
#[derive(Clone)]
struct There {
    address: SocketAddr,
    /// It draws another one when it is started again.
    name: Uuid,
    /// A new one each time that it is found: a panic may have left a useless one behind.
    caller: Caller,
}

impl Peer {
    /// Starts a thread that asks whether the peer is there, for as long as this exists.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(url: PeerUrl, store: Store, most_bytes: usize) -> io::Result<Self> {
        let patience = store.timeouts().patience();
        let watched = Arc::new(Watched {
            url,
            there: Mutex::default(),
            is_of_use: AtomicBool::default(),
        });
        let (lost, losses) = bounded(1);
        let watch = Arc::clone(&watched);
        std::thread::Builder::new()
            .name("peer".to_owned())
            .spawn(move || watch.watch(&store, &losses))?;
        Ok(Self {
            watched,
            lost,
            most_bytes,
            patience,
        })
    }

    /// Has it store these messages, within half of the time that is left to the first of them. None if it is not there,
    /// or they are too many for it, for good or for now: then it stores nothing of them.
    pub(crate) fn store<'a>(
        &self,
        posts: impl ExactSizeIterator<Item = &'a Post> + Clone,
    ) -> Option<Result<Vec<Result<Window, Error>>, Refusal>> {
        let there = self.watched.there().clone()?;
        let deadline = posts.clone().map(|post| post.deadline).min()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let budget = Budget::new(self.patience.min(left / 2));
        let count = posts.len();
        let batch = wire::Batch::render(there.name, budget.peer_s(), posts);
        if batch.len() > self.most_bytes {
            return None;
        }
        let stored = there.caller.store(there.address, &batch, count, budget)?;
        if stored.is_ok() {
            self.watched.is_of_use.store(true, Ordering::Relaxed);
        } else {
            self.lose();
        }
        Some(stored)
    }

    /// Hands nothing over until the peer has answered anew that it is there.
    pub(crate) fn lose(&self) {
        *self.watched.there() = None;
        // If it is full, the watch knows already.
        let _told = self.lost.try_send(());
    }
}

impl Watched {
    /// Ends when nobody hands over any more.
    fn watch(&self, store: &Store, losses: &Receiver<()>) {
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let asked = catch_unwind(AssertUnwindSafe(|| self.ask(store)));
            match asked.unwrap_or_else(|_logged| Err("asking for it panicked".to_owned())) {
                Ok(there) => {
                    let address = there.address;
                    *self.there() = Some(there);
                    tracing::info!(peer = %self.url, %address, "handing batches over");
                    told = None;
                    if losses.recv().is_err() {
                        return;
                    }
                    if self.is_of_use.swap(false, Ordering::Relaxed) {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(cause) if told.as_ref() == Some(&cause) => {}
                Err(cause) => {
                    tracing::warn!(peer = %self.url, cause, "handing no batches over");
                    told = Some(cause);
                }
            }
            if losses.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Where and who the peer is, if it works on this database.
    fn ask(&self, store: &Store) -> Result<There, String> {
        let addresses = self.url.0.socket_addrs(|| None);
        let addresses = addresses.map_err(|error| error.to_string())?;
        let from = Uuid::new_v4();
        let mut connection = store.connection().map_err(|error| error.to_string())?;
        store::show_name(&mut connection, from).map_err(|error| {
            connection.give_up();
            error.to_string()
        })?;
        let mut answer = Err("its name has no address".to_owned());
        for address in addresses {
            let budget = Budget::new(store.timeouts().patience());
            let caller = Caller::new();
            let name = caller.name_of(address, from, budget);
            answer = name.map(|name| There {
                address,
                name,
                caller,
            });
            if answer.is_ok() {
                break;
            }
        }
        if store::hide_name(&mut connection, from).is_err() {
            connection.give_up();
        }
        answer
    }

    fn there(&self) -> MutexGuard<'_, Option<There>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_named_by_http_host_and_port_alone() {
        for url in [
            "http://127.0.0.1:8001",
            "http://[::1]:1/",
            "http://replica-1",
        ] {
            let named = PeerUrl::from_str(url).expect("it is named so");
            assert_eq!(
                named.to_string().trim_end_matches('/'),
                url.trim_end_matches('/')
            );
        }
        for url in [
            "",
            "127.0.0.1:8001",
            "replica-1",
            "https://127.0.0.1:8001",
            "mysql://127.0.0.1:8001",
            "http://",
            "http://127.0.0.1:80010",
            "http://127.0.0.1:8001/batches",
            "http://127.0.0.1:8001/?x",
            "http://127.0.0.1:8001/#x",
            "http://user@127.0.0.1:8001",
            "http://:password@127.0.0.1:8001",
        ] {
            assert!(PeerUrl::from_str(url).is_err(), "{url}");
        }
    }
    #[test]
    fn a_replica_knows_itself_by_where_it_listens() {
        for (url, own, itself) in [
            ("http://127.0.0.1:8001", "127.0.0.1:8001", true),
            ("http://localhost:8001", "127.0.0.1:8001", true),
            ("http://127.0.0.1:8001", "127.0.0.1:8002", false),
            ("http://192.0.2.1:8001", "127.0.0.1:8001", false),
            ("http://127.0.0.1:8001", "0.0.0.0:8001", true),
            ("http://127.0.0.1:8001", "[::]:8001", true),
            ("http://127.0.0.1:8001", "0.0.0.0:8002", false),
            // Another machine's, which is no machine's (RFC 5737).
            ("http://192.0.2.1:8001", "0.0.0.0:8001", false),
        ] {
            let peer = PeerUrl::from_str(url).expect("it is one");
            let own = own.parse().expect("an address");
            assert_eq!(peer.leads_to(own), itself, "{url} {own}");
        }
    }
}
