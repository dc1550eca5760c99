//! The staleness of a process, while another one changes a user and both are under load.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Answer, HttpClient, Service, tool};

use crate::{Outcome, load, token};

/// Number of consecutive changes.
const CHANGES: u64 = 1000;
/// Connections that put load on each process meanwhile.
const CONNECTIONS: usize = 20;
/// The longest time of the load.
const MAX_LOAD_TIME: Duration = Duration::from_secs(60);

/// The result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staleness {
    pub(crate) changes: u64,
    /// Reads of the process that did not make the changes.
    pub(crate) reads: u64,
    /// The longest time since a change was acknowledged that this process did not show yet, in milliseconds.
    pub(crate) worst_ms: f64,
    /// The same for the process that made the changes.
    pub(crate) worst_own_ms: f64,
}

/// Changes a user a thousand times by `first`, and reads it from both processes.
pub(crate) fn measure(first: &Service, second: &Service) -> Outcome<Staleness> {
    tool::say("a thousand changes");
    let (writer, follower) = (first.address()?, second.address()?);
    let authorization = format!("Authorization: Bearer {}\r\n", token(first)?);
    let (changed, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let request = load::get("/user/id-1", None);
    std::thread::scope(|scope| {
        for address in [writer, follower] {
            let (request, stop) = (&request, &stop);
            scope.spawn(move || {
                let started = Instant::now();
                while !stop.load(Ordering::Relaxed) && started.elapsed() < MAX_LOAD_TIME {
                    let _ = load::run(address, request, CONNECTIONS, Duration::from_millis(500));
                }
            });
        }
        let own = scope.spawn(|| read(writer, &changed, &stop));
        let others = scope.spawn(|| read(follower, &changed, &stop));
        let outcome = change(writer, &authorization, &changed);
        stop.store(true, Ordering::Relaxed);
        outcome?;
        let of = |reader: std::thread::ScopedJoinHandle<'_, _>| {
            reader.join().expect("it returns errors")
        };
        let ((_, worst_own), (reads, worst)): ((u64, Duration), (u64, Duration)) =
            (of(own)?, of(others)?);
        Ok(Staleness {
            changes: CHANGES,
            reads,
            worst_ms: worst.as_secs_f64() * 1e3,
            worst_own_ms: worst_own.as_secs_f64() * 1e3,
        })
    })
}

/// Makes the changes, and records when each was acknowledged.
fn change(
    address: SocketAddr,
    authorization: &str,
    changed: &Mutex<Vec<(Instant, u64)>>,
) -> Outcome<()> {
    let mut client = HttpClient::try_connect(address)?;
    for number in 0..CHANGES {
        let change = json!({ "first_name": format!("Name{number}") }).to_string();
        let answer = client.request("PATCH", "/users/1", authorization, change.as_bytes());
        let answered = (Instant::now(), version(&answer)?);
        changed
            .lock()
            .expect("nobody panics with it")
            .push(answered);
    }
    Ok(())
}

fn version(answer: &Answer) -> Result<u64, String> {
    let tag = answer.header("ETag").map(|tag| tag.trim_matches('"'));
    let version = tag.and_then(|tag| tag.parse().ok());
    version.ok_or_else(|| format!("not a user: {answer:?}"))
}

/// Reads until `stop` is set. Returns the number of reads, and the worst staleness: the time from a change's acknowledgement to a
/// read that did not show it.
fn read(
    address: SocketAddr,
    changed: &Mutex<Vec<(Instant, u64)>>,
    stop: &AtomicBool,
) -> Result<(u64, Duration), String> {
    let mut client = HttpClient::try_connect(address).map_err(|error| error.to_string())?;
    let (mut reads, mut worst) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let shown = version(&client.get("/user/id-1"))?;
        reads += 1;
        let changed = changed.lock().expect("nobody panics with it");
        let newer = changed.partition_point(|&(_, version)| version <= shown);
        if let Some((answered, _)) = changed.get(newer) {
            worst = worst.max(asked.saturating_duration_since(*answered));
        }
    }
    Ok((reads, worst))
}
