//! The hosts of the database, and the one of them that takes writes.
//!
//! One host is asked for connections, and that is all: it may be a proxy that knows better. Of several, the one that took
//! writes last is asked first. If it does not say soon that it still does, the others are asked as well, all at once, and
//! the first that does is the one. So a frozen host costs little time, and a failover is followed within a pause.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mysql::{Conn, Opts, OptsBuilder};

use super::Timeouts;
use super::session::SessionSettings;
use super::standing::{self, Unfit};

/// A healthy host says within this time that it takes writes.
const HEAD_START: Duration = Duration::from_millis(250);
/// Between two searches while no host takes writes, at first and later. A hundred replicas that lose the primary at
/// once soon come back at different times, and then ask each host about 130 times a second together.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two lines in the log that say so.
const REPORT: Duration = Duration::from_secs(5);

/// At least one.
pub(super) struct Hosts {
    all: Vec<Arc<Host>>,
    patience: Duration,
    /// Locked during a search: whoever else wants a connection wants the same host.
    search: Mutex<Search>,
    /// Locked for a moment only.
    nowhere: Mutex<Option<Nowhere>>,
}

impl Hosts {
    /// Connects to none.
    pub(super) fn new(options: impl IntoIterator<Item = Opts>, timeouts: Timeouts) -> Self {
        let settings = Arc::new(SessionSettings::new(timeouts));
        let host = |options| Arc::new(Host::new(options, Arc::clone(&settings)));
        Self {
            all: options.into_iter().map(host).collect(),
            patience: timeouts.connect,
            search: Mutex::default(),
            nowhere: Mutex::default(),
        }
    }

    /// The same hosts, for connections without a database, which may not be there yet.
    pub(super) fn without_database(&self, timeouts: Timeouts) -> Self {
        let without =
            |host: &Arc<Host>| OptsBuilder::from_opts(host.options.clone()).db_name(None::<String>);
        Self::new(self.all.iter().map(without).map(Opts::from), timeouts)
    }

    /// A connection to the host that takes writes, known since it was made to do so. Waits as long as connecting may
    /// take; while no host takes writes, it fails at once until the next search is due.
    pub(super) fn connect(&self) -> Result<Conn, NoConnection> {
        let mut connection = self.choose()?;
        standing::wait_for_backlog(&mut connection)?;
        Ok(connection)
    }

    fn choose(&self) -> Result<Conn, NoConnection> {
        if let [only] = self.all.as_slice() {
            return Ok(only.open()?);
        }
        let mut search = lock(&self.search);
        if let (false, Some(nowhere)) = (search.is_due(), self.nowhere()) {
            return Err(NoConnection::Nowhere(nowhere));
        }
        match self.find(search.current) {
            Ok((index, connection)) => {
                search.found(index, &self.all[index].name);
                *lock(&self.nowhere) = None;
                Ok(connection)
            }
            Err(nowhere) => {
                search.failed(&nowhere, self.nowhere());
                *lock(&self.nowhere) = Some(nowhere.clone());
                Err(NoConnection::Nowhere(nowhere))
            }
        }
    }

    /// What is wrong with the hosts, while none of several takes writes. Does not wait for a search.
    pub(super) fn nowhere(&self) -> Option<Nowhere> {
        lock(&self.nowhere).clone()
    }

    /// Whether a connection is fit for use: alive, and where there are several hosts, one to the host that takes writes.
    pub(super) fn check(&self, connection: &mut Conn) -> Result<(), NoConnection> {
        if self.all.len() == 1 {
            Ok(connection.ping()?)
        } else {
            Ok(standing::check(connection)?)
        }
    }

    fn find(&self, first: usize) -> Result<(usize, Conn), Nowhere> {
        let deadline = Instant::now() + self.patience;
        let mut reasons: Vec<Unfit> = self.all.iter().map(|_| Unfit::Silent).collect();
        let (answer_to, answers) = channel();
        self.all[first].ask(first, &answer_to);
        // The others need time as well.
        match answers.recv_timeout(HEAD_START.min(self.patience / 2)) {
            Ok((_, Ok(connection))) => return Ok((first, connection)),
            Ok((_, Err(reason))) => reasons[first] = reason,
            Err(_late) => {}
        }
        for (index, host) in self
            .all
            .iter()
            .enumerate()
            .filter(|&(index, _)| index != first)
        {
            host.ask(index, &answer_to);
        }
        drop(answer_to);
        let time_left = || deadline.saturating_duration_since(Instant::now());
        while let Ok((index, answer)) = answers.recv_timeout(time_left()) {
            match answer {
                Ok(connection) => return Ok((index, connection)),
                Err(reason) => reasons[index] = reason,
            }
        }
        let names = self.all.iter().map(|host| host.name.clone());
        Err(Nowhere(names.zip(reasons).collect()))
    }
}

/// What a panic leaves behind is whole: nothing is changed in several steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Host {
    /// For the log.
    name: String,
    options: Opts,
    settings: Arc<SessionSettings>,
    /// A frozen host answers late or never; meanwhile it is not asked again.
    asked: AtomicBool,
}

type Answer = (usize, Result<Conn, Unfit>);

impl Host {
    fn new(options: Opts, settings: Arc<SessionSettings>) -> Self {
        let name = match options.get_socket() {
            Some(socket) => socket.to_owned(),
            None => format!(
                "{}:{}",
                options.get_ip_or_hostname(),
                options.get_tcp_port()
            ),
        };
        Self {
            name,
            options,
            settings,
            asked: AtomicBool::new(false),
        }
    }

    /// In a thread of its own, which ends when the host has answered, or has not in the time that a statement may take.
    fn ask(self: &Arc<Self>, index: usize, answer_to: &Sender<Answer>) {
        if self.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (host, answer_to) = (Arc::clone(self), answer_to.clone());
        let question = move || {
            let answer = host.connect();
            host.asked.store(false, Ordering::Relaxed);
            // If another host was faster, nobody waits for this one.
            let _ = answer_to.send((index, answer));
        };
        let thread = thread::Builder::new().name(format!("host {index}"));
        if let Err(error) = thread.spawn(question) {
            tracing::warn!(%error, "cannot ask the database host {}", self.name);
            self.asked.store(false, Ordering::Relaxed);
        }
    }

    fn connect(&self) -> Result<Conn, Unfit> {
        let mut connection = self.open()?;
        standing::check(&mut connection)?;
        Ok(connection)
    }

    /// The only place where connections to the database are made.
    fn open(&self) -> Result<Conn, mysql::Error> {
        let mut connection = Conn::new(self.options.clone())?;
        self.settings.pin(&mut connection)?;
        Ok(connection)
    }
}

/// How finding the host goes.
#[derive(Default)]
struct Search {
    /// Index of the one that took writes last, or is asked first.
    current: usize,
    outage: Option<Outage>,
    /// One was found before.
    found_before: bool,
}

/// While no host takes writes.
struct Outage {
    since: Instant,
    searches: u32,
    not_before: Instant,
    reported: Instant,
}

impl Search {
    fn is_due(&self) -> bool {
        let not_before = self.outage.as_ref().map(|outage| outage.not_before);
        not_before.is_none_or(|not_before| not_before <= Instant::now())
    }

    fn found(&mut self, index: usize, name: &str) {
        let waited = self.outage.take().map(|outage| outage.since.elapsed());
        if waited.is_some() || index != self.current || !self.found_before {
            tracing::info!(host = name, ?waited, "this database host takes writes");
        }
        self.current = index;
        self.found_before = true;
    }

    fn failed(&mut self, nowhere: &Nowhere, before: Option<Nowhere>) {
        let now = Instant::now();
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            searches: 0,
            not_before: now,
            reported: now,
        });
        let changed = before.is_none_or(|before| before.to_string() != nowhere.to_string());
        if changed || outage.reported.elapsed() >= REPORT {
            let waited = outage.since.elapsed();
            tracing::warn!(%nowhere, ?waited, "waiting for a database host that takes writes");
            outage.reported = now;
        }
        outage.not_before = now + pause(outage.searches);
        outage.searches += 1;
    }
}

/// Random, so that replicas that lost the primary together do not search together.
fn pause(searches: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(searches.min(16)))
        .min(LONGEST_PAUSE)
        .mul_f64(rand::random_range(0.5..1.0))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// What the only host says, or the driver of it.
    #[error(transparent)]
    OneHost(#[from] mysql::Error),
    /// It is to a host that is not the one to write to any more.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// None of several hosts takes writes.
    #[error("no database host takes writes: {0}")]
    Nowhere(Nowhere),
}

impl NoConnection {
    /// The errors, if they are all there is; of each host one.
    pub(super) fn errors(&self) -> Option<Vec<&mysql::Error>> {
        match self {
            Self::OneHost(error) => Some(vec![error]),
            Self::Unfit(unfit) => unfit.error().map(|error| vec![error]),
            Self::Nowhere(nowhere) => nowhere.0.iter().map(|(_, unfit)| unfit.error()).collect(),
        }
    }
}

/// What is wrong with each of the hosts.
#[derive(Debug, Clone)]
pub struct Nowhere(Arc<[(String, Unfit)]>);

impl Nowhere {
    /// Without names, for callers, as in `2 read-only, 1 not answering`.
    #[must_use]
    pub fn in_general(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, unfit) in self.0.iter() {
            *counts.entry(unfit.in_general()).or_default() += 1;
        }
        let counts = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Nowhere {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, unfit)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(to, "{separator}{name}: {unfit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PAUSE, LONGEST_PAUSE, pause};

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        for searches in 0..100 {
            let pauses: Vec<_> = (0..32).map(|_| pause(searches)).collect();
            assert!(
                pauses
                    .iter()
                    .all(|&pause| pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE)
            );
            assert!(
                pauses.iter().any(|pause| pause != &pauses[0]),
                "replicas would come back together"
            );
        }
        assert!(pause(99) >= LONGEST_PAUSE / 2);
    }
}
