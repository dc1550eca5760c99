//! File descriptors: as many as the system grants, and some kept back for when connections have taken all others.

use std::fs;

use rlimit::Resource;

/// For connections to the database, and for telling callers that there is no room. An eighth of a very low limit.
const MOST_KEPT_BACK: u64 = 128;

/// How much of the limit must be free again before connections are taken: one part in so many. With less, the next few
/// connections would exhaust it again.
const ROOM: u64 = 16;

/// A state of connections, as the kernel numbers it: the other side has closed it, and this one has not.
const CLOSE_WAIT: &str = "08";

/// Raises the limit to the most that the system grants, less what is kept back. Where that is forbidden, the limit stays
/// as it is, and the log says so.
pub fn claim() {
    set_limit(|most| most - kept_back(most));
}

/// Lets what was kept back be used, until [`claim`].
pub fn use_what_is_kept_back() {
    set_limit(|most| most);
}

fn set_limit(of: impl Fn(u64) -> u64) {
    let set = Resource::NOFILE
        .get()
        .and_then(|(_, most)| Resource::NOFILE.set(of(most), most));
    if let Err(error) = set {
        tracing::warn!(%error, "cannot set the limit of open files");
    }
}

/// Whether there is room for new connections. Where the system does not tell, there is.
#[must_use]
pub fn has_room() -> bool {
    most().is_none_or(|most| open().is_none_or(|open| open + most / ROOM <= most - kept_back(most)))
}

/// Whether connections to `port` that their clients have closed, and that stay open here for ever, hold half of all
/// descriptors, two each. `tiny_http` waits for itself when a request line asks for HTTP/2 or HTTP/3.
#[must_use]
pub fn are_held_by_the_dead(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let is_dead = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|local| local.split_once(':'));
        local.is_some_and(|(_, local)| u16::from_str_radix(local, 16) == Ok(port))
            && columns.nth(1) == Some(CLOSE_WAIT)
    };
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    let dead = lines.filter(is_dead).count() as u64;
    most().is_some_and(|most| 4 * dead >= most)
}

/// How many descriptors there may be at most, where the system tells.
#[must_use]
pub fn most() -> Option<u64> {
    Resource::NOFILE.get_hard().ok()
}

/// How many there are, and how many may be, for the log.
#[must_use]
pub fn shown() -> String {
    let shown = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    format!("{} of {}", shown(open()), shown(most()))
}

/// How many descriptors are open, where the system tells.
#[must_use]
pub fn open() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux tells since 6.2; before, they have to be counted.
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        known => Some(known),
    }
}

fn kept_back(most: u64) -> u64 {
    MOST_KEPT_BACK.min(most / 8)
}
