//! The hosts of the database, and the one of them that takes writes.
//!
//! The host that took writes last is tried first. If it does not give a connection soon, all others are tried at once, and the
//! first that gives one is used. So a frozen host costs little time, and a failover is noticed within a pause. If there are
//! several hosts, each is asked whether it takes writes. A single host is not asked, because it may be a proxy.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use mysql::{Conn, DriverError, Error, Opts, OptsBuilder};
use parking_lot::Mutex;

use crate::backoff::Backoff;

use super::primary::{self, NoPrimary, Unfit};
use super::session;
use super::timeouts::Timeouts;

/// The time in which a healthy host answers that it takes writes.
const HEAD_START: Duration = Duration::from_millis(250);
/// The pauses between two searches while no host takes writes. They are random, so a hundred replicas that lose the primary at
/// the same time soon search at different times, and together ask each host about 130 times a second.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
};

/// The hosts of the database, at least one.
pub(super) struct Hosts {
    all: Vec<Host>,
    /// The statements that set up a session.
    settings: String,
    connect_timeout: Duration,
    /// The index of the host that took writes last. Locked during a search, because others that want a connection want that host.
    current: Mutex<Option<usize>>,
    /// The last search, if it failed. Locked for a moment only.
    failed: Mutex<Option<FailedSearch>>,
}

struct Host {
    options: Opts,
    /// Locked while the host is asked, so that a frozen host is not asked again before it has answered.
    asked: Mutex<()>,
}

/// A search that found no host.
#[derive(Clone)]
struct FailedSearch {
    no_primary: NoPrimary,
    /// How many searches in a row failed before it.
    before: u32,
    /// When the next one is due.
    next: Instant,
}

type Answer = (usize, Result<Conn, Unfit>);

impl Hosts {
    /// Connects to none of them yet.
    pub(super) fn new(options: Vec<Opts>, timeouts: Timeouts) -> Arc<Self> {
        let host = |options| Host {
            options,
            asked: Mutex::default(),
        };
        Arc::new(Self {
            all: options.into_iter().map(host).collect(),
            settings: session::statements(timeouts),
            connect_timeout: timeouts.connect_timeout,
            current: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// A connection to the host that takes writes. Waits as long as connecting may take, and longer if others connect as well.
    /// After a failed search it fails at once until the next one is due.
    pub(super) fn connect(self: &Arc<Self>) -> Result<Conn, NoPrimary> {
        let mut current = self.current.lock();
        let failed = self.failed.lock().clone();
        if let Some(failed) = &failed
            && Instant::now() < failed.next
        {
            return Err(failed.no_primary.clone());
        }
        match self.find(current.unwrap_or_default()) {
            Ok((index, connection)) => {
                *self.failed.lock() = None;
                if current.replace(index) != Some(index) && self.are_several() {
                    let host = self.all[index].name();
                    tracing::info!(host, "this database host takes writes");
                }
                Ok(connection)
            }
            Err(no_primary) => {
                let before = failed.map_or(0, |failed| failed.before + 1);
                *self.failed.lock() = Some(FailedSearch {
                    no_primary: no_primary.clone(),
                    before,
                    next: Instant::now() + PAUSES.pause(before),
                });
                Err(no_primary)
            }
        }
    }

    /// What is wrong with the hosts, if there are several and none takes writes. Does not wait for a search.
    pub(super) fn no_primary(&self) -> Option<NoPrimary> {
        let failed = self.failed.lock().clone();
        failed
            .filter(|_| self.are_several())
            .map(|failed| failed.no_primary)
    }

    /// Checks that a connection is alive, and if there are several hosts, that its host takes writes.
    pub(super) fn check(&self, connection: &mut Conn) -> Result<(), Unfit> {
        if self.are_several() {
            primary::check(connection)
        } else {
            Ok(connection.ping()?)
        }
    }

    /// Whether a host must confirm that it takes writes.
    fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    fn find(self: &Arc<Self>, first: usize) -> Result<(usize, Conn), NoPrimary> {
        let deadline = Instant::now() + self.connect_timeout;
        let mut reasons: Vec<Unfit> = self.all.iter().map(|_| Unfit::Silent).collect();
        let (answer_to, answers) = channel();
        self.ask(first, &answer_to, Self::connect_to);
        // Half of the time at most, because the others need time as well.
        match answers.recv_timeout(HEAD_START.min(self.connect_timeout / 2)) {
            Ok((_, Ok(connection))) => return Ok((first, connection)),
            Ok((_, Err(reason))) => reasons[first] = reason,
            Err(_late) => {}
        }
        for other in (0..self.all.len()).filter(|&index| index != first) {
            self.ask(other, &answer_to, Self::connect_to);
        }
        drop(answer_to);
        let time_left = || deadline.saturating_duration_since(Instant::now());
        while let Ok((index, answer)) = answers.recv_timeout(time_left()) {
            match answer {
                Ok(connection) => return Ok((index, connection)),
                Err(reason) => reasons[index] = reason,
            }
        }
        let names = self.all.iter().map(Host::name);
        Err(NoPrimary(names.zip(reasons).collect()))
    }

    /// Asks a host on a new thread, which ends when the host has answered, or after the time-out of a statement. At most one
    /// thread for each host: if an earlier question has no answer yet, it is not asked again.
    fn ask(
        self: &Arc<Self>,
        index: usize,
        answer_to: &Sender<Answer>,
        connect: impl FnOnce(&Self, &Host) -> Result<Conn, Unfit> + Send + 'static,
    ) {
        let (hosts, answer_to) = (Arc::clone(self), answer_to.clone());
        let question = move || {
            let Some(asked) = hosts.all[index].asked.try_lock() else {
                return;
            };
            let answer = connect(&hosts, &hosts.all[index]);
            drop(asked);
            // Fails if another host was faster, and nobody waits for this one.
            let _ = answer_to.send((index, answer));
        };
        let thread = thread::Builder::new().name(format!("host {index}"));
        if let Err(error) = thread.spawn(question) {
            let name = self.all[index].name();
            tracing::warn!(%error, "cannot ask the database host {name}");
        }
    }

    /// Makes a connection; the only place that does.
    fn connect_to(&self, host: &Host) -> Result<Conn, Unfit> {
        let mut connection = host.open()?;
        session::pin(&mut connection, &self.settings)?;
        if self.are_several() {
            primary::check(&mut connection)?;
        }
        primary::wait_for_backlog(&mut connection)?;
        Ok(connection)
    }
}

impl Host {
    /// The name of the host in the log.
    fn name(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => socket.to_owned(),
            None => format!(
                "{}:{}",
                self.options.get_ip_or_hostname(),
                self.options.get_tcp_port()
            ),
        }
    }

    fn open(&self) -> Result<Conn, Error> {
        if self.options.get_socket().is_some() {
            return Conn::new(self.options.clone());
        }
        let host = self.options.get_ip_or_hostname();
        // Without an address the driver reports the error. It keeps IPv6 addresses in brackets.
        let addresses =
            (host.trim_matches(['[', ']']), self.options.get_tcp_port()).to_socket_addrs();
        let addresses: Vec<_> = addresses.into_iter().flatten().collect();
        let mut connection = Err(DriverError::CouldNotConnect(None).into());
        for options in to_each_address(&self.options, &addresses) {
            connection = Conn::new(options);
            if !matches!(
                connection,
                Err(Error::DriverError(
                    DriverError::CouldNotConnect(_) | DriverError::ConnectTimeout
                ))
            ) {
                break;
            }
        }
        connection
    }
}

/// Options with which the driver tries all addresses of a host's name, one after the other, each for its share of the time to
/// connect. The last share is for the login.
///
/// By default the driver gives up at the first address that fails. If the local address is bound, even to the unspecified one, it
/// goes on to the others of that family, and the certificate is still checked against the host's name.
fn to_each_address(options: &Opts, addresses: &[SocketAddr]) -> Vec<Opts> {
    let (Ok(count @ 2..), Some(timeout)) = (
        u32::try_from(addresses.len()),
        options.get_tcp_connect_timeout(),
    ) else {
        return vec![options.clone()];
    };
    let any = |address: &SocketAddr| match address {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let first = any(&addresses[0]);
    let other = addresses.iter().map(any).find(|family| *family != first);
    let bound = |any: IpAddr| {
        OptsBuilder::from_opts(options.clone())
            .tcp_connect_timeout(Some(timeout / (count + 1)))
            .bind_address(Some(SocketAddr::from((any, 0))))
            .into()
    };
    iter::once(first).chain(other).map(bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_a_host_is_asked_does_not_exclude_it() {
        let unreachable = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(1)
            .prefer_socket(false);
        let second = Duration::from_secs(1);
        let timeouts = Timeouts {
            connect_timeout: second,
            database_timeout: second,
        };
        let hosts = Hosts::new(vec![unreachable.into()], timeouts);
        let (answer_to, answers) = channel();
        let (panics_to, panics) = channel::<()>();
        hosts.ask(0, &answer_to, move |_, _| {
            drop(panics_to);
            panic!("by the test")
        });
        // Waits until the thread is about to panic.
        let _closed = panics.recv();
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = loop {
            hosts.ask(0, &answer_to, Hosts::connect_to);
            match answers.recv_timeout(Duration::from_millis(100)) {
                Err(_late) if Instant::now() < deadline => {}
                answer => break answer,
            }
        };
        assert!(matches!(answer, Ok((0, Err(Unfit::Failed(_))))));
    }

    #[test]
    fn each_address_of_a_name_gets_a_share_of_the_time_and_the_name_stays() {
        let v4 = |last| SocketAddr::from(([127, 0, 0, last], 3306));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 3306));
        let options: Opts = OptsBuilder::new()
            .ip_or_hostname(Some("db.example"))
            .tcp_connect_timeout(Some(Duration::from_secs(3)))
            .into();
        let tried = |addresses: &[SocketAddr]| -> Vec<(Option<bool>, Duration)> {
            let tried = to_each_address(&options, addresses);
            let binds = |options: &Opts| options.bind_address().map(SocketAddr::is_ipv6);
            assert!(
                tried
                    .iter()
                    .all(|options| options.get_ip_or_hostname() == "db.example")
            );
            let share = |options: &Opts| options.get_tcp_connect_timeout().unwrap_or_default();
            tried
                .iter()
                .map(|options| (binds(options), share(options)))
                .collect()
        };
        let (whole, third) = (Duration::from_secs(3), Duration::from_secs(1));
        assert_eq!(tried(&[]), [(None, whole)]);
        assert_eq!(tried(&[v4(1)]), [(None, whole)]);
        assert_eq!(tried(&[v4(1), v4(2)]), [(Some(false), third)]);
        assert_eq!(
            tried(&[v6, v4(1)]),
            [(Some(true), third), (Some(false), third)]
        );
    }
}
